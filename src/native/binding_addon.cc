// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>
#include <uv.h>

#include <chrono>
#include <memory>
#include <thread>

#include "binding.h"
#include "scheduling.h"

namespace sealgate {

namespace {

constexpr int kAbi = 8;  // addon.ts checks it

void Initialize(const Napi::CallbackInfo& info) {
  auto* state = info.Env().GetInstanceData<AddonState>();
  state->native_error = Napi::Persistent(info[0].As<Napi::Function>());
  state->established = Napi::Persistent(info[1].As<Napi::Function>());
}

// Node joins its thread pool on the way out; a thread that waits for a server of files may never come.
void ExitWithin(const Napi::CallbackInfo& info) {
  const std::chrono::milliseconds limit(info[0].As<Napi::Number>().Int64Value());
  const int status = info[1].As<Napi::Number>().Int32Value();
  std::thread([limit, status] {
    std::this_thread::sleep_for(limit);
    _exit(status);
  }).detach();
}

void ScheduleThisAsBatch(const Napi::CallbackInfo& info) {
  const int error = ScheduleAsBatch();
  if (error != 0) ThrowErrno(info.Env(), error);
}

void TakeShortSlicesHere(const Napi::CallbackInfo& /*info*/) { TakeShortSlices(); }

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new AddonState());  // freed by Node with the environment
  exports.Set("abi", kAbi);
  exports.Set("initialize", Napi::Function::New<Initialize>(env, "initialize"));
  exports.Set("exitWithin", Napi::Function::New<ExitWithin>(env, "exitWithin"));
  exports.Set("scheduleAsBatch", Napi::Function::New<ScheduleThisAsBatch>(env, "scheduleAsBatch"));
  exports.Set("takeShortSlices", Napi::Function::New<TakeShortSlicesHere>(env, "takeShortSlices"));
  exports.Set("Terminator", binding_terminator::Define(env));
  exports.Set("ConnectionReceiver", binding_receiver::Define(env));
  exports.Set("LoadClient", binding_load::Define(env));
  exports.Set("OcspSubject", binding_ocsp::Define(env));
  return exports;
}

Napi::Object ToJs(Napi::Env env, const PeerCertificate& peer) {
  const auto bytes = [env](const std::vector<uint8_t>& from) {
    return Napi::Buffer<uint8_t>::Copy(env, from.data(), from.size());
  };
  Napi::Array chain = Napi::Array::New(env);
  for (const auto& der : peer.chain) chain.Set(chain.Length(), bytes(der));
  Napi::Array names = Napi::Array::New(env);
  for (const std::string& name : peer.subject_alt_names) names.Set(names.Length(), name);
  Napi::Object object = Napi::Object::New(env);
  object.Set("certificate", bytes(peer.certificate));
  object.Set("chain", chain);
  object.Set("subject", peer.subject);
  object.Set("commonName", peer.common_name.empty() ? env.Undefined()
                                                    : Napi::Value(Napi::String::New(env, peer.common_name)));
  object.Set("subjectAltNames", names);
  object.Set("serial", peer.serial);
  object.Set("fingerprint", peer.fingerprint);
  return object;
}

}  // namespace

Napi::Value ThrowOpenssl(Napi::Env env, const OpensslFailure& failure) {
  Napi::Array errors = Napi::Array::New(env);
  std::string message = failure.message;
  for (size_t i = 0; i < failure.openssl_errors.size(); ++i) {
    errors.Set(static_cast<uint32_t>(i), failure.openssl_errors[i]);
    message += (i == 0 ? ": " : "; ") + failure.openssl_errors[i];
  }
  const Napi::FunctionReference& error_class = env.GetInstanceData<AddonState>()->native_error;
  const Napi::Object error = error_class.New(
      {Napi::String::New(env, "ERR_NATIVE_OPENSSL"), Napi::String::New(env, message), errors});
  napi_throw(env, error);
  return env.Undefined();
}

Napi::Value ThrowErrno(Napi::Env env, int error) {
  Napi::Error thrown = Napi::Error::New(env, ErrnoText(error));
  thrown.Set("code", Napi::String::New(env, uv_err_name(uv_translate_sys_error(error))));
  thrown.ThrowAsJavaScriptException();
  return env.Undefined();
}

// Every connection comes by here, and properties set one by one cost more than a call into JavaScript.
Napi::Value ToJs(Napi::Env env, const Established& facts) {
  const auto text = [env](const auto& of) -> napi_value {
    return of.empty() ? env.Undefined() : Napi::Value(Napi::String::New(env, of));
  };
  return env.GetInstanceData<AddonState>()->established.Call({
      Napi::Number::New(env, static_cast<double>(facts.handle)),
      Napi::Number::New(env, facts.listener_id),
      text(facts.server_name),
      text(facts.alpn_protocol),
      Napi::String::New(env, facts.tls_version),
      Napi::String::New(env, facts.cipher),
      Napi::Boolean::New(env, facts.resumed),
      Napi::String::New(env, facts.peer),
      Napi::Number::New(env, facts.peer_port),
      Napi::String::New(env, facts.local_address),
      Napi::Number::New(env, facts.local_port),
      Napi::String::New(env, facts.certificate_signature),
      text(facts.certificate_key),
      facts.client_certificate == nullptr ? env.Undefined() : ToJs(env, *facts.client_certificate),
  });
}

Waker::Waker(Napi::Env env, const char* name, std::function<void(Napi::Env)> call)
    : target_(new Target{std::move(call)}),
      tsfn_(
          Function::New(env, name, 0, 1, target_, [](Napi::Env, void*, Target* target) { delete target; })) {}

void Waker::Release() {
  if (released_) return;
  released_ = true;
  target_->call = nullptr;
  tsfn_.Release();
}

void Waker::Call(Napi::Env env, Napi::Function /*callback*/, Target* target, void* /*data*/) {
  if (env == nullptr || !target->call) return;
  target->call(env);
}

NODE_API_MODULE(sealgate, Init)

}  // namespace sealgate
