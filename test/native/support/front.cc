// SPDX-License-Identifier: Apache-2.0
#include "support/front.h"

#include <fcntl.h>

#include <algorithm>
#include <stdexcept>

#include "support/tls_client.h"

namespace sealgate::test {

PolicySpec DefaultPolicy() {
  return {
      .min_version = TLS1_2_VERSION,
      .ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20",
      .ciphersuites = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256",
      .groups = "X25519:P-256:P-384",
      .tickets = 1,
      .ticket_lifetime_s = 3600,
  };
}

CredentialsSpec Credentials(const std::vector<std::string>& names, const std::vector<KeyKind>& kinds) {
  CredentialsSpec spec{.names = names,
                       .certificates = {},
                       .signature_schemes = {},
                       .tls13_schemes = {},
                       .policy = DefaultPolicy()};
  for (const KeyKind kind : kinds) {
    spec.certificates.push_back(
        {.chain = {KeyPairOf(kind).certificate}, .key_id = static_cast<uint32_t>(kind)});
    spec.signature_schemes += (spec.signature_schemes.empty() ? "" : ":") + SchemesOf(kind);
  }
  return spec;
}

std::vector<EndpointSpec> Endpoints(std::vector<CredentialsSpec> credentials, bool refuse_unknown_names) {
  return {{.listener_ids = {Front::kListenerId},
           .refuse_unknown_names = refuse_unknown_names,
           .credentials = std::move(credentials)}};
}

SocketAddress Loopback(uint16_t port) { return *SocketAddress::Parse("127.0.0.1", port); }

Bytes TicketKey(uint8_t fill) { return Bytes(TicketKeys::kKeySize, fill); }

Front::Front(Options options) {
  auto created = Terminator::Create({
      .threads = options.threads,
      .handshake_timeout_ms = options.handshake_timeout_ms,
      .key_log_fd = options.key_log_fd,
      .wake_signs =
          [this, also = options.on_sign_wake] {
            if (also) also();
            Wake();
          },
      .wake_established = [this] { Wake(); },
      .wake_events = [this] { Wake(); },
  });
  if (const auto* failure = std::get_if<OpensslFailure>(&created)) throw std::runtime_error(failure->message);
  terminator_ = std::move(std::get<std::unique_ptr<Terminator>>(created));
  const auto set = terminator_->SetCredentials(options.endpoints.empty() ? Endpoints(options.credentials)
                                                                         : options.endpoints);
  if (const auto* failure = std::get_if<OpensslFailure>(&set)) throw std::runtime_error(failure->message);
  terminator_->SetTicketKeys({TicketKey(1)});
  if (options.client_authentication) SetClientAuthentication(*options.client_authentication);
  const int port = terminator_->Listen({
      .id = kListenerId,
      .mode = options.mode,
      .address = Loopback(0),
      .alpn = options.alpn,
      .idle_timeout_ms = options.idle_timeout_ms,
      .proxy_networks = options.proxy_networks,
      .max_connections = options.max_connections,
      .max_handshakes = options.max_handshakes,
      .max_connections_per_address = options.max_connections_per_address,
  });
  if (port < 0) throw std::runtime_error("listen: " + std::to_string(port));
  port_ = static_cast<uint16_t>(port);
  thread_ = std::thread([this] { Run(); });
}

Front::~Front() {
  Close();
  EXPECT_EQ(signatures_pending(), 0);
  EXPECT_EQ(open_connections(), 0);
}

void Front::Close() {
  terminator_->Stop();
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    woken_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
  ReadMailboxes();  // what the threads have said last
  terminator_->Close();
}

void Front::SetClientAuthentication(const ClientAuthenticationSpec& spec) {
  const auto set = terminator_->SetClientAuthentication(kListenerId, spec);
  if (const auto* failure = std::get_if<OpensslFailure>(&set)) throw std::runtime_error(failure->message);
}

void Front::SetRouting(TcpRouting routing) {
  const std::lock_guard lock(mutex_);
  routing_ = std::move(routing);
}

void Front::Wake() {
  const std::lock_guard lock(mutex_);
  wake_ = true;
  woken_.notify_all();
}

void Front::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    woken_.wait(lock, [this] { return wake_ || stop_; });
    if (stop_) return;
    wake_ = false;
    lock.unlock();
    ReadMailboxes();
    lock.lock();
  }
}

void Front::ReadMailboxes() {
  for (SignRequest& request : terminator_->mailboxes().signs.TakeAll()) {
    ++signatures_requested_;
    switch (answer_.load()) {
      case Answer::kSign:
        Sign(request);
        break;
      case Answer::kFail:
        Fail(request);
        break;
      case Answer::kTwice:
        Sign(request);
        Fail(request);
        break;
      case Answer::kHold:
        held.Push(std::move(request));
        break;
    }
  }
  for (Established& facts : terminator_->mailboxes().established.TakeAll()) {
    if (const std::lock_guard lock(mutex_); routing_.answered) {
      Registry::Instance().Send(facts.handle, ConnectUpstream{
                                                  .handle = facts.handle,
                                                  .addresses = routing_.addresses,
                                                  .connect_timeout_ms = routing_.connect_timeout_ms,
                                                  .idle_timeout_ms = routing_.idle_timeout_ms,
                                                  .preface = routing_.preface,
                                              });
    }
    established.Push(std::move(facts));
  }
  for (Event& event : terminator_->mailboxes().events.TakeAll()) events.Push(std::move(event));
}

void Front::Sign(const SignRequest& request) {
  const KeyPair& pair = KeyPairOf(static_cast<KeyKind>(request.key_id));
  Registry::Instance().Send(
      request.handle, FinishSign{.handle = request.handle,
                                 .signature = SignInSoftware(pair.key.get(), request.scheme, request.message),
                                 .reason = {}});
}

void Front::Fail(const SignRequest& request) {
  Registry::Instance().Send(
      request.handle, FinishSign{.handle = request.handle, .signature = {}, .reason = "the token is away"});
}

uint64_t Front::handshakes(bool resumed) const {
  uint64_t sum = 0;
  for (const auto& thread : terminator_->threads()) {
    for (const auto& version : thread->stats().handshakes) sum += version[resumed ? 1 : 0];
  }
  return sum;
}

std::chrono::nanoseconds Front::handshake_time() const {
  uint64_t sum = 0;
  for (const auto& thread : terminator_->threads()) {
    for (const auto& histogram : thread->stats().handshake_seconds) sum += histogram.sum_ns;
  }
  return std::chrono::nanoseconds(sum);
}

uint64_t Front::handshakes_failed() const {
  uint64_t sum = 0;
  for (const auto& thread : terminator_->threads()) sum += thread->stats().handshakes_failed;
  return sum;
}

int64_t Front::signatures_pending() const {
  int64_t sum = 0;
  for (const auto& thread : terminator_->threads()) sum += thread->stats().signatures_pending;
  return sum;
}

int64_t Front::open_connections() const {
  int64_t sum = 0;
  for (const auto& [id, state] : terminator_->listeners()) {
    sum += state->handshaking + state->idle + state->active;
  }
  return sum;
}

Worker::Worker(Front& front) {
  receiver_ = std::make_shared<Receiver>([this] {
    const std::lock_guard lock(mutex_);
    wake_ = true;
    woken_.notify_all();
  });
  front.terminator().SetReceivers({Registry::Instance().AddReceiver(receiver_)});
}

std::optional<PlainConnection> Worker::Next() {
  if (taken_.empty()) {
    {
      std::unique_lock lock(mutex_);
      if (!woken_.wait_for(lock, kPatience, [this] { return wake_; })) return std::nullopt;
      wake_ = false;
    }
    for (PlainConnection& connection : receiver_->connections.TakeAll()) {
      fcntl(connection.fd.get(), F_SETFL, 0);  // tests read in turn
      GiveUpAfterPatience(connection.fd.get());
      taken_.push_back(std::move(connection));
    }
  }
  if (taken_.empty()) return std::nullopt;
  std::optional<PlainConnection> next(std::move(taken_.front()));
  taken_.pop_front();
  return next;
}

void Worker::Abort(const PlainConnection& connection) {
  Registry::Instance().Send(connection.facts.handle, AbortConnection{connection.facts.handle});
}

void Worker::Leave() {
  receiver_->gone.store(true, std::memory_order_release);
  receiver_->connections.Disconnect();
  taken_.clear();
}

}  // namespace sealgate::test
