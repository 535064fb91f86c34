// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "binding.h"
#include "registry.h"

namespace sealgate {

namespace {

// JavaScript's ConnectionReceiver: an HTTP worker's end of the TLS threads.
//
// Owns:   the receiver; threads hold it too, and see `gone` when the worker has left.
// Thread: the worker's. Closes itself when the worker's environment goes.
// Ends:   with close(); until then it holds itself against the garbage collector, for others call it.
class ReceiverWrap final : public Napi::ObjectWrap<ReceiverWrap> {
 public:
  explicit ReceiverWrap(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<ReceiverWrap>(info), on_connection_(Napi::Persistent(info[0].As<Napi::Function>())) {
    Napi::Env env = info.Env();
    waker_ = std::make_unique<Waker>(env, "sealgate connections", [this](Napi::Env env) { Deliver(env); });
    receiver_ = std::make_shared<Receiver>([waker = waker_.get()] { waker->Wake(); });
    id_ = Registry::Instance().AddReceiver(receiver_);  // NOLINT(cppcoreguidelines-prefer-member-initializer)
    hook_ = env.AddCleanupHook(&ReceiverWrap::OnEnvironmentGone, this);
    Ref();
  }
  ~ReceiverWrap() override { Close(); }

  Napi::Value JS_id(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), id_); }

  void JS_abort(const Napi::CallbackInfo& info) {
    const auto handle = static_cast<Handle>(info[0].As<Napi::Number>().Int64Value());
    Registry::Instance().Send(handle, AbortConnection{handle});
  }

  void JS_close(const Napi::CallbackInfo& info) {
    if (!closed_) hook_.Remove(info.Env());
    Close();
  }

 private:
  static void OnEnvironmentGone(ReceiverWrap* self) { self->Close(); }

  void Close() {
    if (closed_) return;
    closed_ = true;
    receiver_->gone.store(true, std::memory_order_release);
    receiver_->connections.Disconnect();
    waker_->Release();
    on_connection_.Reset();
    Unref();
  }

  void Deliver(Napi::Env env) {
    for (PlainConnection& connection : receiver_->connections.TakeAll()) {
      if (closed_) return;
      Napi::HandleScope scope(env);
      const Napi::Value facts = ToJs(env, connection.facts);
      if (facts.IsEmpty()) return;
      // JavaScript owns the descriptor from here.
      on_connection_.MakeCallback(Value(), {Napi::Number::New(env, connection.fd.release()), facts});
      if (env.IsExceptionPending()) return;  // an uncaught exception: the worker ends
    }
  }

  Napi::FunctionReference on_connection_;
  std::unique_ptr<Waker> waker_;
  std::shared_ptr<Receiver> receiver_;
  uint32_t id_ = 0;
  bool closed_ = false;
  Napi::Env::CleanupHook<void (*)(ReceiverWrap*), ReceiverWrap> hook_;
};

}  // namespace

Napi::Function binding_receiver::Define(Napi::Env env) {
  return ReceiverWrap::DefineClass(env, "ConnectionReceiver",
                                   {
                                       ReceiverWrap::InstanceAccessor<&ReceiverWrap::JS_id>("id"),
                                       ReceiverWrap::InstanceMethod<&ReceiverWrap::JS_abort>("abort"),
                                       ReceiverWrap::InstanceMethod<&ReceiverWrap::JS_close>("close"),
                                   });
}

}  // namespace sealgate
