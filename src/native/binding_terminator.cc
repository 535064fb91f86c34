// SPDX-License-Identifier: Apache-2.0
// JavaScript's Terminator. Long because every value that crosses the border is taken apart or put together
// here.
#include <algorithm>
#include <memory>

#include "binding.h"
#include "registry.h"
#include "terminator.h"

namespace sealgate {

namespace {

Bytes ToBytes(const Napi::Value& value) {
  const auto view = value.As<Napi::Uint8Array>();
  return {view.Data(), view.Data() + view.ElementLength()};
}

template <typename T, typename Convert>
std::vector<T> ToVector(const Napi::Value& value, Convert convert) {
  const auto array = value.As<Napi::Array>();
  std::vector<T> items;
  items.reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) items.push_back(convert(array.Get(i)));
  return items;
}

std::string ToText(const Napi::Value& value) { return value.As<Napi::String>().Utf8Value(); }
uint32_t ToUint32(const Napi::Value& value) { return value.As<Napi::Number>().Uint32Value(); }
Handle ToHandle(const Napi::Value& value) {
  return static_cast<Handle>(value.As<Napi::Number>().Int64Value());
}

// TypeScript has checked it.
Network ToNetwork(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  return Network::Parse(ToText(object.Get("address")), ToUint32(object.Get("prefix")))
      .value_or(Network::None());
}

CertificateSpec ToCertificate(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  return {.chain = ToVector<Bytes>(object.Get("chain"), ToBytes), .key_id = ToUint32(object.Get("keyId"))};
}

int ToVersion(const Napi::Value& value) {
  return ToText(value) == "TLSv1.3" ? TLS1_3_VERSION : TLS1_2_VERSION;
}

PolicySpec ToPolicy(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  return {
      .min_version = ToVersion(object.Get("minVersion")),
      .max_version = ToVersion(object.Get("maxVersion")),
      .ciphers = ToText(object.Get("ciphers")),
      .ciphersuites = ToText(object.Get("ciphersuites")),
      .groups = ToText(object.Get("groups")),
      .tickets = ToUint32(object.Get("tickets")),
      .ticket_lifetime_s = ToUint32(object.Get("ticketLifetimeS")),
  };
}

CredentialsSpec ToCredentials(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  return {
      .names = ToVector<std::string>(object.Get("names"), ToText),
      .certificates = ToVector<CertificateSpec>(object.Get("certificates"), ToCertificate),
      .signature_schemes = ToText(object.Get("signatureSchemes")),
      .tls13_schemes = ToVector<uint16_t>(
          object.Get("tls13Schemes"),
          [](const Napi::Value& scheme) { return static_cast<uint16_t>(ToUint32(scheme)); }),
      .policy = ToPolicy(object.Get("policy")),
  };
}

EndpointSpec ToEndpoint(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  return {
      .listener_ids = ToVector<uint32_t>(object.Get("listenerIds"), ToUint32),
      .refuse_unknown_names = object.Get("refuseUnknownNames").ToBoolean(),
      .credentials = ToVector<CredentialsSpec>(object.Get("credentials"), ToCredentials),
  };
}

AllowRule ToAllowRule(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  const std::string kind = ToText(object.Get("kind"));
  return {.kind = kind == "dns"      ? AllowRule::Kind::kDns
                  : kind == "uri"    ? AllowRule::Kind::kUri
                  : kind == "spiffe" ? AllowRule::Kind::kSpiffe
                  : kind == "email"  ? AllowRule::Kind::kEmail
                                     : AllowRule::Kind::kSpki,
          .pattern = ToText(object.Get("pattern"))};
}

ClientAuthenticationSpec ToClientAuthentication(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  return {
      .require = object.Get("require").ToBoolean(),
      .authorities = ToVector<Bytes>(object.Get("authorities"), ToBytes),
      .revocation_lists = ToVector<Bytes>(object.Get("revocationLists"), ToBytes),
      .check_whole_chain = object.Get("checkWholeChain").ToBoolean(),
      .depth = ToUint32(object.Get("depth")),
      .allow = ToVector<AllowRule>(object.Get("allow"), ToAllowRule),
      .keep_chain = object.Get("keepChain").ToBoolean(),
  };
}

// TypeScript has the fingerprint from an OcspSubject.
StapleSpec ToStaple(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  StapleSpec staple{.response = ToBytes(object.Get("response")),
                    .ends_s = object.Get("endsS").As<Napi::Number>().Int64Value(),
                    .required = object.Get("required").ToBoolean()};
  const Bytes fingerprint = ToBytes(object.Get("fingerprint"));
  if (fingerprint.size() == staple.certificate.size())
    std::copy(fingerprint.begin(), fingerprint.end(), staple.certificate.begin());
  return staple;
}

Napi::Object ToJs(Napi::Env env, Event& event) {
  Napi::Object object = Napi::Object::New(env);
  if (const auto* failed = std::get_if<HandshakeFailed>(&event)) {
    object.Set("type", "handshake-failed");
    object.Set("handle", static_cast<double>(failed->handle));
    object.Set("listenerId", failed->listener_id);
    object.Set("serverName", failed->server_name.empty()
                                 ? env.Undefined()
                                 : Napi::Value(Napi::String::New(env, failed->server_name)));
    object.Set("peer", failed->peer);
    object.Set("peerPort", failed->peer_port);
    object.Set("reason", failed->reason);
    object.Set("durationMs", failed->duration_ms);
  } else if (const auto* closed = std::get_if<ConnectionClosed>(&event)) {
    object.Set("type", "connection-closed");
    object.Set("connection", ToJs(env, closed->connection));
    object.Set("upstream", closed->upstream.empty() ? env.Undefined()
                                                    : Napi::Value(Napi::String::New(env, closed->upstream)));
    object.Set("bytesReceived", static_cast<double>(closed->bytes_received));
    object.Set("bytesSent", static_cast<double>(closed->bytes_sent));
    object.Set("durationMs", closed->duration_ms);
    object.Set("reason", closed->reason);
  } else if (const auto* connect = std::get_if<ConnectFailed>(&event)) {
    object.Set("type", "connect-failed");
    object.Set("upstream", connect->upstream);
    object.Set("reason", connect->reason);
  } else if (const auto* accept = std::get_if<AcceptFailed>(&event)) {
    object.Set("type", "accept-failed");
    object.Set("listenerId", accept->listener_id);
    object.Set("reason", accept->reason);
  }
  return object;
}

// JavaScript's Terminator. Main thread only. Closes itself when the environment goes. Until it is closed it
// holds itself against the garbage collector: its threads call it.
class TerminatorWrap final : public Napi::ObjectWrap<TerminatorWrap> {
 public:
  explicit TerminatorWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<TerminatorWrap>(info) {
    Napi::Env env = info.Env();
    const auto options = info[0].As<Napi::Object>();
    on_sign_ = Napi::Persistent(options.Get("onSign").As<Napi::Function>());
    on_established_ = Napi::Persistent(options.Get("onEstablished").As<Napi::Function>());
    on_events_ = Napi::Persistent(options.Get("onEvents").As<Napi::Function>());
    signs_ = std::make_unique<Waker>(env, "sealgate signs", [this](Napi::Env env) { DeliverSigns(env); });
    established_ = std::make_unique<Waker>(env, "sealgate established", [this](Napi::Env env) {
      Deliver(env, terminator_->mailboxes().established.TakeAll(), on_established_);
    });
    events_ = std::make_unique<Waker>(env, "sealgate events", [this](Napi::Env env) {
      Deliver(env, terminator_->mailboxes().events.TakeAll(), on_events_);
    });
    auto created = Terminator::Create({
        .threads = ToUint32(options.Get("threads")),
        .handshake_timeout_ms = ToUint32(options.Get("handshakeTimeoutMs")),
        .key_log_fd =
            options.Get("keyLogFd").IsNumber() ? options.Get("keyLogFd").As<Napi::Number>().Int32Value() : -1,
        .wake_signs = [waker = signs_.get()] { waker->Wake(); },
        .wake_established = [waker = established_.get()] { waker->Wake(); },
        .wake_events = [waker = events_.get()] { waker->Wake(); },
    });
    if (const auto* failure = std::get_if<OpensslFailure>(&created)) {
      ReleaseWakers();
      closed_ = true;
      ThrowOpenssl(env, *failure);
      return;
    }
    terminator_ = std::move(std::get<std::unique_ptr<Terminator>>(created));
    // Runs before the wakers' own hooks (last in, first out): no thread wakes a function that is gone.
    hook_ = env.AddCleanupHook(&TerminatorWrap::OnEnvironmentGone, this);
    Ref();
  }
  ~TerminatorWrap() override { Close(); }

  Napi::Value JS_setCredentials(const Napi::CallbackInfo& info) {
    if (closed_) return info.Env().Undefined();
    const auto result = terminator_->SetCredentials(ToVector<EndpointSpec>(info[0], ToEndpoint));
    if (const auto* failure = std::get_if<OpensslFailure>(&result)) return ThrowOpenssl(info.Env(), *failure);
    return info.Env().Undefined();
  }

  Napi::Value JS_setClientAuthentication(const Napi::CallbackInfo& info) {
    if (closed_) return info.Env().Undefined();
    const auto result =
        terminator_->SetClientAuthentication(ToUint32(info[0]), ToClientAuthentication(info[1]));
    if (const auto* failure = std::get_if<OpensslFailure>(&result)) return ThrowOpenssl(info.Env(), *failure);
    return info.Env().Undefined();
  }

  void JS_setTicketKeys(const Napi::CallbackInfo& info) {
    if (!closed_) terminator_->SetTicketKeys(ToVector<Bytes>(info[0], ToBytes));
  }

  void JS_setStaples(const Napi::CallbackInfo& info) {
    if (!closed_) terminator_->SetStaples(ToVector<StapleSpec>(info[0], ToStaple));
  }

  Napi::Value JS_listen(const Napi::CallbackInfo& info) {
    const auto object = info[0].As<Napi::Object>();
    const auto address =
        SocketAddress::Parse(ToText(object.Get("host")), static_cast<uint16_t>(ToUint32(object.Get("port"))));
    if (closed_ || !address) return ThrowErrno(info.Env(), EINVAL);
    const int port = terminator_->Listen({
        .id = ToUint32(object.Get("id")),
        .mode = ToText(object.Get("mode")) == "tcp" ? ListenerMode::kTcp : ListenerMode::kHttp,
        .address = *address,
        .alpn = ToVector<std::string>(object.Get("alpn"), ToText),
        .idle_timeout_ms = ToUint32(object.Get("idleTimeoutMs")),
        .proxy_networks = ToVector<Network>(object.Get("proxyNetworks"), ToNetwork),
        .max_connections = ToUint32(object.Get("maxConnections")),
        .max_handshakes = ToUint32(object.Get("maxHandshakes")),
        .max_connections_per_address = ToUint32(object.Get("maxConnectionsPerAddress")),
    });
    if (port < 0) return ThrowErrno(info.Env(), -port);
    return Napi::Number::New(info.Env(), port);
  }

  void JS_stopListening(const Napi::CallbackInfo& info) {
    if (!closed_) terminator_->StopListening(ToUint32(info[0]));
  }

  void JS_setReceivers(const Napi::CallbackInfo& info) {
    if (!closed_) terminator_->SetReceivers(ToVector<uint32_t>(info[0], ToUint32));
  }

  void JS_finishSign(const Napi::CallbackInfo& info) {
    const Handle handle = ToHandle(info[0]);
    FinishSign answer{.handle = handle};
    if (!info[1].IsNull()) answer.signature = ToBytes(info[1]);
    if (info[2].IsString()) answer.reason = ToText(info[2]);
    Registry::Instance().Send(handle, std::move(answer));
  }

  void JS_connectUpstream(const Napi::CallbackInfo& info) {
    const Handle handle = ToHandle(info[0]);
    const auto options = info[2].As<Napi::Object>();
    ConnectUpstream command{
        .handle = handle,
        .addresses = {},
        .connect_timeout_ms = ToUint32(options.Get("connectTimeoutMs")),
        .idle_timeout_ms = ToUint32(options.Get("idleTimeoutMs")),
        .preface = ToBytes(options.Get("preface")),
    };
    if (options.Get("reason").IsString()) command.reason = ToText(options.Get("reason"));
    const auto addresses = info[1].As<Napi::Array>();
    for (uint32_t i = 0; i < addresses.Length(); ++i) {
      const auto object = addresses.Get(i).As<Napi::Object>();
      const auto port = static_cast<uint16_t>(ToUint32(object.Get("port")));
      if (auto address = SocketAddress::Parse(ToText(object.Get("host")), port))
        command.addresses.push_back(*address);
    }
    Registry::Instance().Send(handle, std::move(command));
  }

  void JS_drain(const Napi::CallbackInfo& /*info*/) {
    if (!closed_) terminator_->Drain();
  }

  Napi::Value JS_stats(const Napi::CallbackInfo& info);

  void JS_close(const Napi::CallbackInfo& info) {
    if (closed_) return;
    hook_.Remove(info.Env());
    terminator_->Stop();
    // Connections that were cut off. Told last: whoever is told finds everything closed.
    std::vector<Event> last = terminator_->mailboxes().events.TakeAll();
    const Napi::FunctionReference on_events = std::move(on_events_);
    Close();
    Deliver(info.Env(), std::move(last), on_events);
  }

 private:
  // One call a request, with plain arguments: properties by name would cost more than the rest of the call.
  void DeliverSigns(Napi::Env env) {
    for (SignRequest& request : terminator_->mailboxes().signs.TakeAll()) {
      if (closed_) return;
      Napi::HandleScope scope(env);
      on_sign_.Call({
          Napi::Number::New(env, static_cast<double>(request.handle)),
          Napi::Number::New(env, request.key_id),
          Napi::Number::New(env, request.scheme),
          Napi::Buffer<uint8_t>::Copy(env, request.message.data(), request.message.size()),
          request.server_name.empty() ? env.Undefined()
                                      : Napi::Value(Napi::String::New(env, request.server_name)),
          Napi::String::New(env, request.peer),
      });
      if (env.IsExceptionPending()) return;
    }
  }

  template <typename T>
  void Deliver(Napi::Env env, std::vector<T> items, const Napi::FunctionReference& callback) {
    if (items.empty()) return;
    Napi::HandleScope scope(env);
    Napi::Array array = Napi::Array::New(env, items.size());
    for (size_t i = 0; i < items.size(); ++i) array.Set(static_cast<uint32_t>(i), ToJs(env, items[i]));
    if (env.IsExceptionPending()) return;  // the environment is going
    callback.MakeCallback(Value(), {array});
  }

  static void OnEnvironmentGone(TerminatorWrap* self) { self->Close(); }

  void Close() {
    if (closed_) return;
    closed_ = true;
    terminator_->Close();
    ReleaseWakers();
    on_sign_.Reset();
    on_established_.Reset();
    on_events_.Reset();
    Unref();
  }

  void ReleaseWakers() {
    for (auto* waker : {signs_.get(), established_.get(), events_.get()}) waker->Release();
  }

  std::unique_ptr<Waker> signs_;
  std::unique_ptr<Waker> established_;
  std::unique_ptr<Waker> events_;
  Napi::FunctionReference on_sign_;
  Napi::FunctionReference on_established_;
  Napi::FunctionReference on_events_;
  std::unique_ptr<Terminator> terminator_;
  bool closed_ = false;
  Napi::Env::CleanupHook<void (*)(TerminatorWrap*), TerminatorWrap> hook_;
};

Napi::Value TerminatorWrap::JS_stats(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Napi::Object stats = Napi::Object::New(env);
  static constexpr const char* kVersions[] = {"TLSv1.2", "TLSv1.3"};
  uint64_t done[2][2] = {};
  uint64_t failed = 0;
  int64_t pending = 0;
  std::array<std::array<uint64_t, ThreadStats::kBounds.size() + 1>, 2> counts{};
  std::array<double, 2> sums{};
  for (const auto& thread : terminator_->threads()) {
    const ThreadStats& its = thread->stats();
    failed += its.handshakes_failed.load(std::memory_order_relaxed);
    pending += its.signatures_pending.load(std::memory_order_relaxed);
    for (size_t version = 0; version < 2; ++version) {
      for (size_t resumed = 0; resumed < 2; ++resumed) {
        done[version][resumed] += its.handshakes[version][resumed].load(std::memory_order_relaxed);
      }
    }
    for (size_t resumed = 0; resumed < 2; ++resumed) {
      const auto& histogram = its.handshake_seconds[resumed];
      for (size_t i = 0; i < histogram.counts.size(); ++i) {
        counts[resumed][i] += histogram.counts[i].load(std::memory_order_relaxed);
      }
      sums[resumed] += static_cast<double>(histogram.sum_ns.load(std::memory_order_relaxed)) / 1e9;
    }
  }

  Napi::Array handshakes = Napi::Array::New(env);
  const auto add = [&](const char* result, const char* version, bool resumed, uint64_t count) {
    Napi::Object row = Napi::Object::New(env);
    row.Set("result", result);
    row.Set("tlsVersion", version);
    row.Set("resumed", resumed);
    row.Set("count", static_cast<double>(count));
    handshakes.Set(handshakes.Length(), row);
  };
  for (size_t version = 0; version < 2; ++version) {
    for (size_t resumed = 0; resumed < 2; ++resumed)
      add("ok", kVersions[version], resumed == 1, done[version][resumed]);
  }
  add("failed", "none", false, failed);
  stats.Set("handshakes", handshakes);

  Napi::Array histograms = Napi::Array::New(env);
  for (uint32_t resumed = 0; resumed < 2; ++resumed) {
    Napi::Object row = Napi::Object::New(env);
    Napi::Array bounds = Napi::Array::New(env);
    for (const double bound : ThreadStats::kBounds) bounds.Set(bounds.Length(), bound);
    Napi::Array buckets = Napi::Array::New(env);
    for (const uint64_t count : counts[resumed]) buckets.Set(buckets.Length(), static_cast<double>(count));
    row.Set("resumed", resumed == 1);
    row.Set("bounds", bounds);
    row.Set("counts", buckets);
    row.Set("sum", sums[resumed]);
    histograms.Set(resumed, row);
  }
  stats.Set("handshakeSeconds", histograms);

  Napi::Array connections = Napi::Array::New(env);
  for (const auto& [id, listener] : terminator_->listeners()) {
    Napi::Object row = Napi::Object::New(env);
    row.Set("listenerId", id);
    row.Set("handshaking", static_cast<double>(listener->handshaking.load(std::memory_order_relaxed)));
    row.Set("idle", static_cast<double>(listener->idle.load(std::memory_order_relaxed)));
    row.Set("active", static_cast<double>(listener->active.load(std::memory_order_relaxed)));
    Napi::Object refused = Napi::Object::New(env);
    const auto& [by_connections, by_handshakes, by_address] = listener->refused;
    refused.Set("connections", static_cast<double>(by_connections.load(std::memory_order_relaxed)));
    refused.Set("handshakes", static_cast<double>(by_handshakes.load(std::memory_order_relaxed)));
    refused.Set("address", static_cast<double>(by_address.load(std::memory_order_relaxed)));
    row.Set("refused", refused);
    connections.Set(connections.Length(), row);
  }
  stats.Set("connections", connections);
  stats.Set("signaturesPending", static_cast<double>(pending));
  return stats;
}

}  // namespace

Napi::Function binding_terminator::Define(Napi::Env env) {
  using T = TerminatorWrap;
  return T::DefineClass(env, "Terminator",
                        {
                            T::InstanceMethod<&T::JS_setCredentials>("setCredentials"),
                            T::InstanceMethod<&T::JS_setTicketKeys>("setTicketKeys"),
                            T::InstanceMethod<&T::JS_setStaples>("setStaples"),
                            T::InstanceMethod<&T::JS_setClientAuthentication>("setClientAuthentication"),
                            T::InstanceMethod<&T::JS_listen>("listen"),
                            T::InstanceMethod<&T::JS_stopListening>("stopListening"),
                            T::InstanceMethod<&T::JS_setReceivers>("setReceivers"),
                            T::InstanceMethod<&T::JS_finishSign>("finishSign"),
                            T::InstanceMethod<&T::JS_connectUpstream>("connectUpstream"),
                            T::InstanceMethod<&T::JS_drain>("drain"),
                            T::InstanceMethod<&T::JS_stats>("stats"),
                            T::InstanceMethod<&T::JS_close>("close"),
                        });
}

}  // namespace sealgate
