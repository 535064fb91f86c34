// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "client_authentication.h"
#include "messages.h"
#include "provider.h"
#include "stats.h"
#include "tls_thread.h"

namespace sealgate {

struct ListenerSpec {
  uint32_t id = 0;
  ListenerMode mode = ListenerMode::kHttp;
  SocketAddress address{};
  std::vector<std::string> alpn{};
  uint32_t idle_timeout_ms = 0;
  std::vector<Network> proxy_networks{};
  uint32_t max_connections = 0;  // 0: no limit
  uint32_t max_handshakes = 0;
  uint32_t max_connections_per_address = 0;
};

// The TLS threads and what they share. Knows nothing of Node: the binding gives it the functions that wake
// whoever reads the mailboxes.
//
// Owns:   the OpenSSL library context, the threads, the mailboxes.
// Thread: main thread only; the threads get commands.
class Terminator final {
 public:
  struct Options {
    uint32_t threads = 1;  // for handshakes, and as many relay threads
    uint32_t handshake_timeout_ms = 0;
    int key_log_fd = -1;  // see Contexts::Options
    std::function<void()> wake_signs;
    std::function<void()> wake_established;
    std::function<void()> wake_events;
  };
  using Created = std::variant<std::unique_ptr<Terminator>, OpensslFailure>;
  [[nodiscard]] static Created Create(Options options);
  ~Terminator();
  Terminator(const Terminator&) = delete;
  Terminator& operator=(const Terminator&) = delete;

  [[nodiscard]] std::variant<std::monostate, OpensslFailure> SetCredentials(
      const std::vector<EndpointSpec>& endpoints);
  void SetTicketKeys(std::vector<Bytes> keys);
  // All of them; what is not among them is not stapled any more.
  void SetStaples(std::vector<StapleSpec> staples);
  // Before Listen(): from the first connection on. Later: handshakes under way end with what they began with.
  [[nodiscard]] std::variant<std::monostate, OpensslFailure> SetClientAuthentication(
      uint32_t listener_id, const ClientAuthenticationSpec& spec);
  // The port, or a negative errno.
  [[nodiscard]] int Listen(const ListenerSpec& spec);
  void StopListening(uint32_t id);
  void SetReceivers(const std::vector<uint32_t>& ids);
  void Drain();
  // Ends every connection and joins the threads. What they have said last can be read until Close().
  void Stop();
  // Stop(), and nothing can be read any more. Later calls do nothing.
  void Close();

  [[nodiscard]] MainMailboxes& mailboxes() { return mailboxes_; }
  // Those that make handshakes.
  [[nodiscard]] const std::vector<std::unique_ptr<TlsThread>>& threads() const { return threads_; }
  [[nodiscard]] const std::map<uint32_t, std::shared_ptr<ListenerState>>& listeners() const {
    return listeners_;
  }

 private:
  explicit Terminator(Options options);
  template <typename MakeCommand>
  void SendToAll(MakeCommand make);

  const Contexts::Options context_options_;
  std::unique_ptr<CryptoLibrary> library_;
  MainMailboxes mailboxes_;
  std::vector<std::unique_ptr<TlsThread>> relays_;
  std::vector<std::unique_ptr<TlsThread>> threads_;
  std::map<uint32_t, std::shared_ptr<ListenerState>> listeners_;
};

}  // namespace sealgate
