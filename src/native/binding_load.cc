// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "binding.h"
#include "load_client.h"

namespace sealgate {

namespace {

constexpr uint64_t kNsPerMs = 1'000'000;

std::string TextOf(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::String>().Utf8Value();
}

double NumberOf(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::Number>().DoubleValue();
}

uint32_t CountOf(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::Number>().Uint32Value();
}

LoadOffer OfferOf(const Napi::Object& options) {
  LoadOffer offer{.server_name = TextOf(options, "serverName"),
                  .version = TextOf(options, "version") == "TLSv1.2" ? TLS1_2_VERSION : TLS1_3_VERSION,
                  .verify = options.Get("verify").ToBoolean(),
                  .authorities = TextOf(options, "authorities"),
                  .expected_name = TextOf(options, "expectedName")};
  const auto alpn = options.Get("alpn").As<Napi::Array>();
  for (uint32_t i = 0; i < alpn.Length(); ++i)
    offer.alpn.push_back(alpn.Get(i).As<Napi::String>().Utf8Value());
  return offer;
}

// An address that is none connects to nothing (EAFNOSUPPORT, EINVAL): TypeScript has looked it up.
LoadOptions OptionsOf(const Napi::Object& options) {
  const auto server =
      SocketAddress::Parse(TextOf(options, "address"), static_cast<uint16_t>(CountOf(options, "port")));
  return {.route = {.server = server.value_or(SocketAddress()),
                    .reset = options.Get("reset").ToBoolean(),
                    .tickets = options.Get("tickets").ToBoolean()},
          .timeout_ns = static_cast<uint64_t>(NumberOf(options, "timeoutMs") * double{kNsPerMs}),
          .source_first = CountOf(options, "sourceFirst"),
          .source_step = CountOf(options, "sourceStep")};
}

LoadPlan PlanOf(const Napi::Object& plan) {
  return {.connections = CountOf(plan, "connections"),
          .first_ms = NumberOf(plan, "firstMs"),
          .interval_ms = NumberOf(plan, "intervalMs"),
          .max_open = CountOf(plan, "maxOpen"),
          .resumed = NumberOf(plan, "resumed")};
}

// JavaScript's LoadClient.
//
// Owns:   the generator, which is on the environment's own loop: no thread, no callback into JavaScript.
// Thread: the environment's.
// Ends:   with close(), or with the environment; until then it holds itself against the garbage collector.
class LoadClientWrap final : public Napi::ObjectWrap<LoadClientWrap> {
 public:
  explicit LoadClientWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<LoadClientWrap>(info) {
    Napi::Env env = info.Env();
    const auto options = info[0].As<Napi::Object>();
    auto created = LoadContext::Create(OfferOf(options));
    if (const auto* failure = std::get_if<OpensslFailure>(&created)) {
      ThrowOpenssl(env, *failure);
      return;
    }
    uv_loop_t* loop = nullptr;
    napi_get_uv_event_loop(env, &loop);
    client_ = std::make_unique<LoadClient>(loop, std::move(std::get<std::unique_ptr<LoadContext>>(created)),
                                           OptionsOf(options));
    hook_ = env.AddCleanupHook(&LoadClientWrap::OnEnvironmentGone, this);
    Ref();
  }
  ~LoadClientWrap() override { Close(); }

  void JS_probe(const Napi::CallbackInfo& info) {
    if (client_) client_->Probe();
  }

  void JS_start(const Napi::CallbackInfo& info) {
    if (client_) client_->Start(PlanOf(info[0].As<Napi::Object>()));
  }

  void JS_stop(const Napi::CallbackInfo& info) {
    if (client_) client_->Stop();
  }

  Napi::Value JS_take(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    constexpr size_t kFields = sizeof(LoadRecord) / sizeof(double);
    const auto taken = client_ ? client_->Take() : std::vector<LoadRecord>();
    Napi::Float64Array records = Napi::Float64Array::New(env, taken.size() * kFields);
    if (!taken.empty()) std::memcpy(records.Data(), taken.data(), taken.size() * sizeof(LoadRecord));
    Napi::Array errors = Napi::Array::New(env);
    if (client_)
      for (const std::string& error : client_->errors()) errors.Set(errors.Length(), error);
    Napi::Object object = Napi::Object::New(env);
    object.Set("records", records);
    object.Set("errors", errors);
    object.Set("open", client_ ? client_->open() : 0);
    object.Set("hasTicket", client_ && client_->has_ticket());
    return object;
  }

  void JS_close(const Napi::CallbackInfo& info) {
    if (client_) hook_.Remove(info.Env());
    Close();
  }

 private:
  static void OnEnvironmentGone(LoadClientWrap* self) { self->Close(); }

  void Close() {
    if (!client_) return;
    client_.reset();
    Unref();
  }

  std::unique_ptr<LoadClient> client_;  // null: closed
  Napi::Env::CleanupHook<void (*)(LoadClientWrap*), LoadClientWrap> hook_;
};

}  // namespace

Napi::Function binding_load::Define(Napi::Env env) {
  using T = LoadClientWrap;
  return T::DefineClass(env, "LoadClient",
                        {
                            T::InstanceMethod<&T::JS_probe>("probe"),
                            T::InstanceMethod<&T::JS_start>("start"),
                            T::InstanceMethod<&T::JS_stop>("stop"),
                            T::InstanceMethod<&T::JS_take>("take"),
                            T::InstanceMethod<&T::JS_close>("close"),
                        });
}

}  // namespace sealgate
