// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "load_context.h"
#include "messages.h"
#include "openssl_ptr.h"
#include "poller.h"
#include "socket.h"

namespace sealgate {

// What a load generator connects to, and how it leaves.
struct LoadRoute {
  SocketAddress server{};
  // End with a reset: no TIME_WAIT, which would keep the client's port for a minute.
  bool reset = false;
  // Read the tickets that come after a TLS 1.3 handshake. They cost a key derivation each.
  bool tickets = false;
};

// One connection of a load generator: a handshake, then its end.
//
// Owns:   socket and SSL. Borrows the context, the route and whom it tells.
// Thread: the loop's. May be destroyed while it tells that it is ready.
class LoadConnection final : PollHandle::Target {
 public:
  class Owner {
   public:
    // The socket can go on: the phase's function below is to be called again.
    virtual void OnReady(LoadConnection& connection) = 0;

   protected:
    ~Owner() = default;
  };

  enum class Phase : uint8_t { kHandshaking, kAwaitingTicket, kLeaving };
  enum class Progress : uint8_t { kWaiting, kDone, kFailed };

  // What the owner keeps with it.
  struct Task {
    Handle id = 0;
    uint64_t intended_ns = 0;
    uint64_t started_ns = 0;
    uint64_t finished_ns = 0;  // of the handshake
    bool resume = false;
    bool await_ticket = false;
    uint64_t deadline_ns = 0;
  };

  LoadConnection(const Task& from_task, const LoadRoute& route, Owner* owner)
      : task(from_task), route_(route), owner_(owner) {}

  // Begins to connect. kWaiting or kFailed.
  [[nodiscard]] Progress Open(Poller* poller, const LoadContext& context,
                              const std::optional<SocketAddress>& from);
  // kHandshaking: connects and shakes hands.
  [[nodiscard]] Progress Shake();
  // kAwaitingTicket: kDone when the context has one, kFailed when the server goes or sends an alert.
  [[nodiscard]] Progress AwaitTicket(const LoadContext& context);
  // kLeaving: our close_notify and FIN, then whatever the server still says up to its own end; or the reset.
  // kDone when this may be destroyed.
  [[nodiscard]] Progress Leave();

  [[nodiscard]] bool resumed() const { return SSL_session_reused(ssl_.get()) == 1; }
  // Of kFailed: an errno's name, or OpenSSL's text.
  [[nodiscard]] const std::string& reason() const { return reason_; }

  Task task;
  Phase phase = Phase::kHandshaking;

 private:
  void OnPoll(PollHandle& handle, int status, int events) override;
  [[nodiscard]] Progress Reset();
  [[nodiscard]] Progress Say();
  [[nodiscard]] Progress Drain();
  // kWaiting when OpenSSL wants the socket, which is watched then.
  [[nodiscard]] Progress Wanted(int result);
  [[nodiscard]] Progress Fail(std::string reason);
  [[nodiscard]] std::string ReasonOf(int ssl_error) const;

  const LoadRoute& route_;
  Owner* owner_;
  std::string reason_;
  bool said_end_ = false;
  bool read_once_ = false;
  UniqueFd fd_;
  std::unique_ptr<PollHandle> poll_;  // must go before the descriptor
  SslPtr ssl_;
};

}  // namespace sealgate
