// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "messages.h"
#include "poller.h"
#include "proxy_header.h"
#include "relay.h"
#include "socket.h"
#include "tls_stream.h"

namespace sealgate {

class TlsThread;

// One TLS connection from accept to close.
//
//   accepted ─► handshaking ⇄ signing ─► idle ─╫─► relaying ─► lingering ─► closed      (http)
//                                    └─────────╫─► routing ─► connecting ─► relaying ─► …  (tcp)
//                          handshake thread    ║    relay thread
//
// Owns:    the socket, the TLS stream, the relay. Everything may be dropped in any state: others hold the
//          handle only, and a command for a handle that is gone is ignored.
// Borrows: the thread, which owns it and outlives it. It changes once.
// Thread:  loop thread only. Between Leave() and Arrive() nothing can happen to it.
class Connection final : public PollHandle::Target, public HandshakeDelegate, public Relay::Owner {
 public:
  enum class State : uint8_t {
    kAccepted,  // no byte yet: there is no SSL either
    kHandshaking,
    kSigning,     // suspended until FinishSign
    kIdle,        // http: established, no plaintext yet
    kRouting,     // tcp: waits for ConnectUpstream
    kConnecting,  // tcp: waits for the upstream
    kRelaying,
    kLingering,  // everything is sent; waits for the peer's end, so that no reset overtakes our last bytes
    kClosed,
  };

  // Null when the kernel refuses to watch the socket.
  [[nodiscard]] static std::unique_ptr<Connection> Create(TlsThread* thread, Handle handle, UniqueFd fd,
                                                          const SocketAddress& peer,
                                                          std::shared_ptr<ListenerState> listener);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Commands.
  void FinishSign(struct FinishSign answer);
  void RouteTo(ConnectUpstream command);
  void Abort();  // ends with a reset

  // From the handshake thread to the relay thread.
  void Leave();
  void Arrive(TlsThread* thread, std::span<const uint8_t> first);

  // The thread's turns.
  void HandshakeTurn();
  void PumpTurn();
  // An entry of the deadline queue has come up; it may be older than the deadline that holds now.
  void OnDeadlineEntry(uint64_t when);
  void OnDrain();
  void OnStop();  // then it is destroyed

  [[nodiscard]] Handle handle() const { return handle_; }

 private:
  Connection(TlsThread* thread, Handle handle, UniqueFd fd, const SocketAddress& peer,
             std::shared_ptr<ListenerState> listener);

  // PollHandle::Target
  void OnPoll(PollHandle& handle, int status, int events) override;
  // HandshakeDelegate
  [[nodiscard]] const Contexts& contexts() const override;
  [[nodiscard]] uint32_t listener_id() const override { return listener_->id; }
  [[nodiscard]] const TicketKeys* ticket_keys() const override;
  [[nodiscard]] const Bytes& alpn_protocols() const override { return listener_->alpn_protocols; }
  [[nodiscard]] const SessionBinding& session_binding() const override { return listener_->session_binding; }
  void OnServerName(std::string_view name) override { asked_name_ = name; }
  [[nodiscard]] std::string_view asked_name() const override { return asked_name_; }
  void OnUnknownServerName() override { name_unknown_ = true; }
  void ChooseClientAuthentication() override;
  [[nodiscard]] const ClientAuthentication* client_authentication() const override {
    return client_authentication_.get();
  }
  void OnCertificateRefused(std::string reason) override;
  [[nodiscard]] const Staples* staples() const override;
  void OnStapleMissing() override { known_failure_ = "no OCSP response to staple"; }
  // Relay::Owner
  void OnRelayEnd(Relay::End end, const char* reason) override;
  bool OnPlainEnd() override;
  void OnRelayProgress() override;
  void WantPump() override;

  void OnTlsReady(int events);
  [[nodiscard]] bool ReadProxyHeader();
  void OnReadableWhileSigning(int events);
  void OnUpstreamReady(int status);
  void OnHandshakeDone();
  void OnHandshakeFailed(std::string reason);
  [[nodiscard]] bool TakePlace();
  void ReadFirstPlaintext();
  void HandOver(std::span<const uint8_t> first);
  void ConnectNext();
  void StartRelay(UniqueFd plain, std::span<const uint8_t> first, bool half_close);
  void OnDeadline();
  void Linger();
  [[nodiscard]] bool LingersOn() const;
  void RenewLinger();
  void Discard();
  void CutOff(const char* reason);
  void Close();

  void Enter(State state);
  void SetDeadline(uint64_t after_ms);
  [[nodiscard]] Established Facts() const;
  [[nodiscard]] std::string ServerName() const;
  void ReportClosed(const char* reason);

  struct TcpRoute;

  TlsThread* thread_;
  std::shared_ptr<ListenerState> listener_;
  const Handle handle_;
  uint64_t started_ns_;
  uint64_t hello_ns_ = 0;         // the first byte of the ClientHello
  uint64_t deadline_ = 0;         // loop time in ms; 0: none
  uint64_t deadline_queued_ = 0;  // the entry in the thread's queue that counts; 0: none
  uint64_t linger_end_ = 0;       // loop time in ms
  int linger_unsent_ = 0;         // in the kernel at the last look
  bool linger_heard_ = false;     // the peer has sent something since
  SocketAddress peer_;
  State state_ = State::kAccepted;
  bool resumed_ = false;
  bool name_unknown_ = false;  // therefore the handshake was refused
  bool turn_scheduled_ = false;
  bool pump_scheduled_ = false;
  UniqueFd fd_;
  std::unique_ptr<PollHandle> poll_;
  // Of the ClientHello: a reload in mid-handshake must not verify by one policy and let in by another.
  std::shared_ptr<const ClientAuthentication> client_authentication_;
  std::string known_failure_;                  // says more than OpenSSL's reason
  std::string asked_name_;                     // of the ClientHello
  std::unique_ptr<TlsStream> tls_;             // after what its callbacks use: they run when it goes as well
  std::unique_ptr<ProxyHeader> proxy_header_;  // until it has been read
  std::optional<AddressLimit::Place> place_;   // where each client may have so many
  std::unique_ptr<TcpRoute> route_;            // tcp mode, from ConnectUpstream on
  std::shared_ptr<Receiver> receiver_;         // http mode, once a worker has the connection
  std::unique_ptr<Relay> relay_;               // last: borrows tls_
};

}  // namespace sealgate
