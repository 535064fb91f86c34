// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "registry.h"
#include "support/key_pair.h"
#include "support/waiting_queue.h"
#include "terminator.h"

namespace sealgate::test {

// What becomes of a handshake's request for a signature.
enum class Answer : uint8_t {
  kSign,
  kFail,
  kTwice,  // signs, then answers once more with something else
  kHold,   // keeps it in Front::held
};

struct TcpRouting {
  std::vector<SocketAddress> addresses;
  uint32_t connect_timeout_ms = 5000;
  uint32_t idle_timeout_ms = 60'000;
  Bytes preface{};
  bool answered = true;  // false: nobody says where a connection goes
};

[[nodiscard]] PolicySpec DefaultPolicy();
// One set of names, one self-signed certificate for each kind. The key id is the kind.
[[nodiscard]] CredentialsSpec Credentials(const std::vector<std::string>& names,
                                          const std::vector<KeyKind>& kinds);
// For the listener of a Front.
[[nodiscard]] std::vector<EndpointSpec> Endpoints(std::vector<CredentialsSpec> credentials,
                                                  bool refuse_unknown_names = false);
[[nodiscard]] SocketAddress Loopback(uint16_t port);
// 80 bytes, all the same: a ticket key that can be told from others.
[[nodiscard]] Bytes TicketKey(uint8_t fill);

// A running Terminator with one listener, and a thread that stands where TypeScript stands in production: it
// is woken, reads the mailboxes, signs in software, chooses the upstream and keeps what it was told.
//
// The destructor closes everything and demands that every counter is back at zero.
class Front final {
 public:
  static constexpr uint32_t kListenerId = 7;
  struct Options {
    uint32_t threads = 1;
    uint32_t handshake_timeout_ms = 10'000;
    uint32_t idle_timeout_ms = 60'000;
    ListenerMode mode = ListenerMode::kHttp;
    std::vector<std::string> alpn{};
    std::vector<Network> proxy_networks{};
    uint32_t max_connections = 0;
    uint32_t max_handshakes = 0;
    uint32_t max_connections_per_address = 0;
    std::vector<CredentialsSpec> credentials{Credentials({"one.example"}, {KeyKind::kP256})};
    std::vector<EndpointSpec> endpoints{};  // instead of credentials
    int key_log_fd = -1;
    std::optional<ClientAuthenticationSpec> client_authentication{};
    // Called on the TLS thread, in the middle of the handshake step that asks for a signature.
    std::function<void()> on_sign_wake{};
  };
  explicit Front(Options options);
  Front() : Front(Options{}) {}
  ~Front();
  Front(const Front&) = delete;
  Front& operator=(const Front&) = delete;

  [[nodiscard]] uint16_t port() const { return port_; }
  [[nodiscard]] Terminator& terminator() { return *terminator_; }
  void SetAnswer(Answer answer) { answer_ = answer; }
  void SetRouting(TcpRouting routing);
  // Throws what OpenSSL refuses.
  void SetClientAuthentication(const ClientAuthenticationSpec& spec);
  // As finishSign() does it in production.
  static void Sign(const SignRequest& request);
  static void Fail(const SignRequest& request);
  void Close();

  WaitingQueue<SignRequest> held;
  WaitingQueue<Established> established;
  WaitingQueue<Event> events;

  // The next event of a type, whatever else has happened before it.
  template <typename T>
  [[nodiscard]] std::optional<T> Next() {
    auto event = events.Take([](const Event& e) { return std::holds_alternative<T>(e); });
    if (!event) return std::nullopt;
    return std::get<T>(std::move(*event));
  }

  [[nodiscard]] uint64_t handshakes(bool resumed) const;
  [[nodiscard]] std::chrono::nanoseconds handshake_time() const;  // of all that were completed
  [[nodiscard]] uint64_t handshakes_failed() const;
  [[nodiscard]] int64_t signatures_pending() const;
  [[nodiscard]] uint64_t signatures_requested() const { return signatures_requested_; }
  [[nodiscard]] const ListenerState& listener() const { return *terminator_->listeners().at(kListenerId); }
  [[nodiscard]] int64_t open_connections() const;

 private:
  void Wake();
  void Run();
  void ReadMailboxes();

  std::atomic<Answer> answer_{Answer::kSign};
  std::atomic<uint64_t> signatures_requested_{0};
  std::mutex mutex_;
  std::condition_variable woken_;
  bool wake_ = false;
  bool stop_ = false;
  TcpRouting routing_;
  std::unique_ptr<Terminator> terminator_;
  uint16_t port_ = 0;
  std::thread thread_;
};

// An HTTP worker's end: gets plaintext connections as descriptors.
class Worker final {
 public:
  explicit Worker(Front& front);
  ~Worker() { Leave(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  [[nodiscard]] std::optional<PlainConnection> Next();
  // Says abort as a worker does, for a connection it has got.
  static void Abort(const PlainConnection& connection);
  // As the worker's end of life in production: what it still holds is cut off.
  void Leave();

 private:
  std::mutex mutex_;
  std::condition_variable woken_;
  bool wake_ = false;
  std::deque<PlainConnection> taken_;
  std::shared_ptr<Receiver> receiver_;
};

}  // namespace sealgate::test
