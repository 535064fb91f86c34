// SPDX-License-Identifier: Apache-2.0
// The only headers that know Node: binding_*.cc. Everything else in this folder runs without it.
#pragma once

#include <napi.h>

#include <functional>
#include <string>

#include "messages.h"
#include "openssl_ptr.h"

namespace sealgate {

// What one instance of the addon (one per Node environment) keeps.
struct AddonState {
  // Defined in TypeScript.
  Napi::FunctionReference native_error;  // the class
  Napi::FunctionReference established;   // makes what JavaScript sees of an Established
};

// Throws the TypeScript-defined NativeError in JavaScript; returns undefined.
Napi::Value ThrowOpenssl(Napi::Env env, const OpensslFailure& failure);
// Throws an Error with a code such as EADDRINUSE.
Napi::Value ThrowErrno(Napi::Env env, int error);

// Runs a function on the environment's thread when any thread asks for it: many wakes, few calls.
//
// Owns:   a thread-safe function, which owns the function: it may still be called once after Release(), when
//         the Waker itself is gone, and does nothing then.
// Thread: Wake from any, never after Release() (Mailbox::Disconnect() promises that); the rest from the
//         environment's.
class Waker final {
 public:
  Waker(Napi::Env env, const char* name, std::function<void(Napi::Env)> call);
  ~Waker() { Release(); }
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;

  void Wake() { tsfn_.NonBlockingCall(); }
  void Release();

 private:
  struct Target {
    std::function<void(Napi::Env)> call;  // emptied by Release()
  };
  static void Call(Napi::Env env, Napi::Function callback, Target* target, void* data);
  using Function = Napi::TypedThreadSafeFunction<Target, void, &Waker::Call>;

  Target* target_;  // owned by tsfn_, freed in its finalizer
  Function tsfn_;
  bool released_ = false;
};

// Empty when JavaScript must not run any more: the environment is going.
Napi::Value ToJs(Napi::Env env, const Established& facts);

namespace binding_terminator {
Napi::Function Define(Napi::Env env);
}
namespace binding_receiver {
Napi::Function Define(Napi::Env env);
}
namespace binding_load {
Napi::Function Define(Napi::Env env);
}
namespace binding_ocsp {
Napi::Function Define(Napi::Env env);
}

}  // namespace sealgate
