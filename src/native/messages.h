// SPDX-License-Identifier: Apache-2.0
// What the threads say to each other. Plain values; whoever holds one owns all of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "address_limit.h"
#include "contexts.h"
#include "mailbox.h"
#include "network.h"
#include "peer_certificate.h"
#include "socket.h"
#include "staples.h"
#include "ticket_keys.h"

namespace sealgate {

// Names a connection for as long as the process lives; fits a JavaScript number. See registry.h.
using Handle = uint64_t;

enum class ListenerMode : uint8_t { kHttp, kTcp };

// One listener, as all threads see it. The counters return to zero when its connections have ended.
struct ListenerState {
  explicit ListenerState(uint32_t max_connections_per_address = 0) : clients(max_connections_per_address) {}

  uint32_t id = 0;
  ListenerMode mode = ListenerMode::kHttp;
  Bytes alpn_protocols;  // wire form, RFC 7301 §3.1
  SessionBinding session_binding{};
  uint32_t idle_timeout_ms = 0;
  // Connections from here begin with a PROXY header.
  std::vector<Network> proxy_networks;
  // 0: no limit. Read by all threads without a lock, so a few more may get in at once.
  int64_t max_connections = 0;
  int64_t max_handshakes = 0;
  AddressLimit clients;
  // By the limit that was reached.
  struct {
    std::atomic<uint64_t> connections{0};
    std::atomic<uint64_t> handshakes{0};
    std::atomic<uint64_t> address{0};
  } refused;
  std::atomic<int64_t> handshaking{0};
  std::atomic<int64_t> signing{0};  // of those
  std::atomic<int64_t> idle{0};
  std::atomic<int64_t> active{0};

  // The counter of the limit that keeps a new connection out; null: come in. Handshakes that wait for their
  // signature have a limit of their own: a slow HSM must not shut out those that need none.
  [[nodiscard]] std::atomic<uint64_t>* reached() {
    const int64_t begun = handshaking.load(std::memory_order_relaxed);
    const int64_t all = begun + idle.load(std::memory_order_relaxed) + active.load(std::memory_order_relaxed);
    if (max_connections > 0 && all >= max_connections) return &refused.connections;
    const int64_t moving = begun - signing.load(std::memory_order_relaxed);
    return max_handshakes > 0 && moving >= max_handshakes ? &refused.handshakes : nullptr;
  }
  [[nodiscard]] bool enough_signing() const {
    return max_handshakes > 0 && signing.load(std::memory_order_relaxed) >= max_handshakes;
  }
};

// ---- TLS thread → main thread -----------------------------------------------------------------------------

struct SignRequest {
  Handle handle = 0;
  uint32_t key_id = 0;
  uint16_t scheme = 0;
  Bytes message;
  std::string server_name;
  std::string peer;
};

struct Established {
  Handle handle = 0;
  uint32_t listener_id = 0;
  std::string server_name;
  std::string alpn_protocol;
  const char* tls_version = "";
  const char* cipher = "";
  bool resumed = false;
  std::string peer;
  uint16_t peer_port = 0;
  std::string local_address;
  uint16_t local_port = 0;
  std::shared_ptr<const PeerCertificate> client_certificate;  // null: none was shown
  // tcp: of the certificate that this handshake has shown; empty where it was resumed, which shows none.
  const char* certificate_signature = "";
  std::string certificate_key{};
};

struct HandshakeFailed {
  Handle handle = 0;
  uint32_t listener_id = 0;
  std::string server_name;
  std::string peer;
  uint16_t peer_port = 0;
  std::string reason;
  double duration_ms = 0;
};

struct ConnectionClosed {
  Established connection;
  std::string upstream;
  uint64_t bytes_received = 0;
  uint64_t bytes_sent = 0;
  double duration_ms = 0;
  std::string reason;
};

struct ConnectFailed {
  std::string upstream;
  std::string reason;
};

struct AcceptFailed {
  uint32_t listener_id = 0;
  std::string reason;
};

using Event = std::variant<HandshakeFailed, ConnectionClosed, ConnectFailed, AcceptFailed>;

struct MainMailboxes {
  Mailbox<SignRequest> signs;
  Mailbox<Established> established;
  Mailbox<Event> events;
};

// ---- TLS thread → HTTP worker ----------------------------------------------------------------------

struct PlainConnection {
  Established facts;
  UniqueFd fd;
};

// An HTTP worker's end. Shared: a worker may go while threads still hold its number.
struct Receiver {
  explicit Receiver(std::function<void()> wake) : connections(std::move(wake)) {}
  Mailbox<PlainConnection> connections;
  // The worker has gone: what its sockets still carry is cut off, not finished.
  std::atomic<bool> gone{false};
};

// ---- main thread, HTTP workers → TLS thread --------------------------------------------------------

struct FinishSign {
  Handle handle = 0;
  Bytes signature;     // empty: failed
  std::string reason;  // of the failure, for the log
};

struct ConnectUpstream {
  Handle handle = 0;
  std::vector<SocketAddress> addresses;
  uint32_t connect_timeout_ms = 0;
  uint32_t idle_timeout_ms = 0;
  Bytes preface{};       // what the upstream gets before the first byte of the peer
  std::string reason{};  // why there are no addresses; empty: they could not be found
};

struct AbortConnection {
  Handle handle = 0;
};

struct OpenListener {
  UniqueFd fd;
  std::shared_ptr<ListenerState> state;
};

struct CloseListener {
  uint32_t id = 0;
};

struct SwapContexts {
  std::shared_ptr<const Contexts> contexts;
};

struct SwapTicketKeys {
  std::shared_ptr<const TicketKeys> keys;
};

struct SwapStaples {
  std::shared_ptr<const Staples> staples;
};

// Null: clients of that listener are not asked for a certificate.
struct SwapClientAuthentication {
  uint32_t listener_id = 0;
  std::shared_ptr<const class ClientAuthentication> authentication;
};

struct SwapReceivers {
  std::vector<std::shared_ptr<Receiver>> receivers;
};

struct Drain {};
struct Stop {};

using Command =
    std::variant<FinishSign, ConnectUpstream, AbortConnection, OpenListener, CloseListener, SwapContexts,
                 SwapTicketKeys, SwapStaples, SwapClientAuthentication, SwapReceivers, Drain, Stop>;
using Inbox = Mailbox<Command>;

}  // namespace sealgate
