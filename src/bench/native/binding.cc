// SPDX-License-Identifier: Apache-2.0
#include <dlfcn.h>
#include <napi.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "sign_load.h"

namespace sealgate {

namespace {

std::vector<uint8_t> BytesOf(const Napi::Object& object, const char* name) {
  const auto view = object.Get(name).As<Napi::Uint8Array>();
  return {view.Data(), view.Data() + view.ElementLength()};
}

// A handle as pkcs11js has it: the bytes of a CK_ULONG.
CK_ULONG HandleOf(const Napi::Object& object, const char* name) {
  const std::vector<uint8_t> bytes = BytesOf(object, name);
  CK_ULONG handle = 0;
  std::memcpy(&handle, bytes.data(), std::min(bytes.size(), sizeof handle));
  return handle;
}

// The module as this process has it already, with its login: nothing is loaded here. Null when it has none.
const CK_FUNCTION_LIST* FindModule(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return nullptr;
  CK_RV (*get_function_list)(CK_FUNCTION_LIST**) = nullptr;
  void* symbol = dlsym(library, "C_GetFunctionList");
  std::memcpy(&get_function_list, &symbol, sizeof symbol);
  CK_FUNCTION_LIST* functions = nullptr;
  if (get_function_list == nullptr || get_function_list(&functions) != CKR_OK) return nullptr;
  return functions;
}

// JavaScript's SignLoad.
//
// Owns:   the load with its threads; no callback into JavaScript.
// Thread: the environment's.
// Ends:   with close(), or when it is collected.
class SignLoadWrap final : public Napi::ObjectWrap<SignLoadWrap> {
 public:
  explicit SignLoadWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<SignLoadWrap>(info) {
    const auto work = info[0].As<Napi::Object>();
    const std::string path = work.Get("module").As<Napi::String>().Utf8Value();
    const CK_FUNCTION_LIST* module = FindModule(path);
    if (module == nullptr) {
      Napi::Error::New(info.Env(), path + " is not loaded").ThrowAsJavaScriptException();
      return;
    }
    load_ = std::make_unique<SignLoad>(
        SignWork{.module = module,
                 .slot = HandleOf(work, "slot"),
                 .key = HandleOf(work, "key"),
                 .mechanism = work.Get("mechanism").As<Napi::Number>().Uint32Value(),
                 .parameter = BytesOf(work, "parameter"),
                 .input = BytesOf(work, "input")});
  }

  void JS_start(const Napi::CallbackInfo& info) {
    if (load_)
      load_->Start(info[0].As<Napi::Number>().Uint32Value(), info[1].As<Napi::Number>().DoubleValue());
  }

  Napi::Value JS_take(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    constexpr size_t kFields = sizeof(SignRecord) / sizeof(double);
    const uint32_t running = load_ ? load_->running() : 0;
    const auto taken = load_ ? load_->Take() : std::vector<SignRecord>();
    Napi::Float64Array records = Napi::Float64Array::New(env, taken.size() * kFields);
    if (!taken.empty()) std::memcpy(records.Data(), taken.data(), taken.size() * sizeof(SignRecord));
    Napi::Object object = Napi::Object::New(env);
    object.Set("records", records);
    object.Set("running", running);
    return object;
  }

  void JS_close(const Napi::CallbackInfo& /*info*/) { load_.reset(); }

 private:
  std::unique_ptr<SignLoad> load_;  // null: closed
};

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  using T = SignLoadWrap;
  exports.Set("SignLoad", T::DefineClass(env, "SignLoad",
                                         {
                                             T::InstanceMethod<&T::JS_start>("start"),
                                             T::InstanceMethod<&T::JS_take>("take"),
                                             T::InstanceMethod<&T::JS_close>("close"),
                                         }));
  return exports;
}

}  // namespace

NODE_API_MODULE(sign_load, Init)

}  // namespace sealgate
