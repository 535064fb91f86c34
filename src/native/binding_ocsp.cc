// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "binding.h"
#include "ocsp.h"

namespace sealgate {

namespace {

std::vector<uint8_t> ToBytes(const Napi::Value& value) {
  const auto view = value.As<Napi::Uint8Array>();
  return {view.Data(), view.Data() + view.ElementLength()};
}

Napi::Value FromBytes(Napi::Env env, std::span<const uint8_t> bytes) {
  return {env, Napi::Buffer<uint8_t>::Copy(env, bytes.data(), bytes.size())};
}

Napi::Object ToJs(Napi::Env env, const OcspStatus& status) {
  const auto time = [env](int64_t seconds) {
    return seconds == 0 ? env.Undefined()
                        : Napi::Value(Napi::Number::New(env, static_cast<double>(seconds) * 1000));
  };
  Napi::Object object = Napi::Object::New(env);
  object.Set("status", status.status);
  object.Set("thisUpdateMs", time(status.this_update_s));
  object.Set("nextUpdateMs", time(status.next_update_s));
  object.Set("signerEndsMs", time(status.signer_ends_s));
  object.Set("revokedMs", time(status.revoked_s));
  object.Set("revokedReason", status.revoked_reason.empty()
                                  ? env.Undefined()
                                  : Napi::Value(Napi::String::New(env, status.revoked_reason)));
  return object;
}

Napi::Object ToJs(Napi::Env env, const OcspRefusal& refusal) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("status", "refused");
  object.Set("reason", refusal.reason);
  object.Set("detail", refusal.detail);
  return object;
}

// JavaScript's OcspSubject: values only, no threads.
class OcspSubjectWrap final : public Napi::ObjectWrap<OcspSubjectWrap> {
 public:
  explicit OcspSubjectWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<OcspSubjectWrap>(info) {
    Napi::Env env = info.Env();
    std::optional<OcspSubject::Bytes> issuer;
    if (info.Length() > 1 && !info[1].IsUndefined()) issuer = ToBytes(info[1]);
    auto created = OcspSubject::Create(ToBytes(info[0]), issuer);
    if (const auto* failure = std::get_if<OpensslFailure>(&created)) {
      ThrowOpenssl(env, *failure);
      return;
    }
    subject_ = std::move(std::get<std::unique_ptr<OcspSubject>>(created));
  }

  Napi::Value JS_fingerprint(const Napi::CallbackInfo& info) {
    return FromBytes(info.Env(), subject_->fingerprint());
  }

  Napi::Value JS_request(const Napi::CallbackInfo& info) {
    if (subject_->request().empty()) return info.Env().Undefined();
    return FromBytes(info.Env(), subject_->request());
  }

  Napi::Value JS_mustStaple(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), subject_->MustStaple());
  }

  Napi::Value JS_responders(const Napi::CallbackInfo& info) {
    Napi::Array urls = Napi::Array::New(info.Env());
    for (const std::string& url : subject_->Responders()) urls.Set(urls.Length(), url);
    return urls;
  }

  Napi::Value JS_read(const Napi::CallbackInfo& info) {
    const auto read = subject_->Read(ToBytes(info[0]));
    return std::visit([&](const auto& result) { return ToJs(info.Env(), result); }, read);
  }

 private:
  std::unique_ptr<OcspSubject> subject_;
};

}  // namespace

Napi::Function binding_ocsp::Define(Napi::Env env) {
  using T = OcspSubjectWrap;
  return T::DefineClass(env, "OcspSubject",
                        {
                            T::InstanceAccessor<&T::JS_fingerprint>("fingerprint"),
                            T::InstanceAccessor<&T::JS_request>("request"),
                            T::InstanceAccessor<&T::JS_mustStaple>("mustStaple"),
                            T::InstanceAccessor<&T::JS_responders>("responders"),
                            T::InstanceMethod<&T::JS_read>("read"),
                        });
}

}  // namespace sealgate
