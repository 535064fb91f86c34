// SPDX-License-Identifier: Apache-2.0
// Long because it is one state machine: every way into and out of each state stands beside the others.
#include "connection.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "client_authentication.h"
#include "peer_certificate.h"
#include "tls_thread.h"

namespace sealgate {

namespace {

// After our FIN: how long the peer may take for its own, from the last sign of life. Longer than a round
// trip, short enough to cost nothing.
constexpr uint64_t kLingerMs = 2000;
// However slowly it reads, however much it still sends (as nginx's lingering_time).
constexpr uint64_t kLingerMaxMs = 30'000;
// Drain: a connection that is open but silent may have a request on its way.
constexpr uint64_t kDrainGraceMs = 1500;
// A peer that takes nothing for this long is gone (as nginx's send_timeout).
constexpr uint64_t kSendTimeoutMs = 60'000;

constexpr std::string_view kPlaintextAnswer =
    "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 30\r\n\r\n"
    "This port speaks HTTPS (TLS).\n";

std::atomic<int64_t>* CounterOf(ListenerState& listener, Connection::State state) {
  switch (state) {
    case Connection::State::kAccepted:
    case Connection::State::kHandshaking:
    case Connection::State::kSigning:
      return &listener.handshaking;
    case Connection::State::kIdle:
      return &listener.idle;
    case Connection::State::kRouting:
    case Connection::State::kConnecting:
    case Connection::State::kRelaying:
    case Connection::State::kLingering:
      return &listener.active;
    case Connection::State::kClosed:
      break;
  }
  return nullptr;
}

// Of socket(2): out of descriptors or memory.
bool IsOurShortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

// Bytes in our kernel that the peer's has not acknowledged.
int UnsentBytes(int fd) {
  int bytes = 0;
  return ioctl(fd, SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

// As HAProxy says it: RSA2048, EC256.
std::string KeyText(const EVP_PKEY* key) {
  const std::string bits = std::to_string(EVP_PKEY_get_bits(key));
  if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA) return "RSA" + bits;
  if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC) return "EC" + bits;
  return OBJ_nid2sn(EVP_PKEY_get_base_id(key));
}

}  // namespace

struct Connection::TcpRoute {
  std::vector<SocketAddress> addresses;
  size_t next = 0;
  std::string current;  // host:port
  uint32_t connect_timeout_ms = 0;
  uint32_t idle_timeout_ms = 0;
  Bytes preface;
  std::string no_address_left;  // the reason of the end then
  UniqueFd fd;
  std::unique_ptr<PollHandle> poll;
};

std::unique_ptr<Connection> Connection::Create(TlsThread* thread, Handle handle, UniqueFd fd,
                                               const SocketAddress& peer,
                                               std::shared_ptr<ListenerState> listener) {
  std::unique_ptr<Connection> connection(
      new Connection(thread, handle, std::move(fd), peer, std::move(listener)));
  connection->poll_ =
      PollHandle::Create(thread->poller(), connection->fd_.get(), UV_READABLE, connection.get());
  if (connection->poll_ == nullptr) return nullptr;
  // Behind a balancer the client is known later.
  if (connection->proxy_header_ == nullptr && !connection->TakePlace()) return nullptr;
  connection->SetDeadline(thread->handshake_timeout_ms());
  return connection;
}

Connection::Connection(TlsThread* thread, Handle handle, UniqueFd fd, const SocketAddress& peer,
                       std::shared_ptr<ListenerState> listener)
    : thread_(thread),
      listener_(std::move(listener)),
      handle_(handle),
      started_ns_(uv_hrtime()),
      peer_(peer),
      fd_(std::move(fd)) {
  const auto& networks = listener_->proxy_networks;
  if (std::any_of(networks.begin(), networks.end(), [&](const Network& net) { return net.Contains(peer_); }))
    proxy_header_ = std::make_unique<ProxyHeader>();
  listener_->handshaking.fetch_add(1, std::memory_order_relaxed);
  thread_->HandshakeBegan();
}

Connection::~Connection() {
  if (tls_ != nullptr && tls_->suspended()) thread_->HandshakeResumed();
  if (tls_ != nullptr && tls_->operation().state() == SignOperation::State::kRequested) {
    thread_->stats().signatures_pending.fetch_sub(1, std::memory_order_relaxed);
  }
  Enter(State::kClosed);
}

// ---- readiness ------------------------------------------------------------------------------------------

void Connection::OnPoll(PollHandle& handle, int status, int events) {
  if (&handle != poll_.get()) return OnUpstreamReady(status);
  OnTlsReady(status < 0 ? UV_READABLE | UV_DISCONNECT : events);
}

void Connection::OnTlsReady(int events) {
  if (tls_ != nullptr && (events & UV_READABLE) != 0) tls_->MarkReadable();
  switch (state_) {
    case State::kAccepted:
      if (proxy_header_ != nullptr && !ReadProxyHeader()) return;
      tls_ = TlsStream::Create(fd_.get(), &thread_->egress(), this);
      if (tls_ == nullptr) return OnHandshakeFailed("out of memory");
      hello_ns_ = uv_hrtime();
      Enter(State::kHandshaking);
      [[fallthrough]];
    case State::kHandshaking:
      // Handshakes take their turn after the open connections: a flood of them must not delay a request. Most
      // have it in this very round. Who has to wait longer is not watched meanwhile: epoll would report all
      // of them in every round, which is quadratic.
      if (turn_scheduled_) return poll_->Watch(0);
      turn_scheduled_ = true;
      return thread_->ScheduleHandshake(handle_);
    case State::kSigning:
      return OnReadableWhileSigning(events);
    case State::kIdle:
      return ReadFirstPlaintext();
    case State::kRouting:
    case State::kConnecting:
      poll_->Watch(0);  // what the peer says first waits in the socket
      return;
    case State::kRelaying:
      return relay_->Pump();
    case State::kLingering:
      if ((events & UV_WRITABLE) != 0) return Linger();
      return Discard();
    case State::kClosed:
      return;
  }
}

// Takes the header and nothing behind it: the rest is OpenSSL's to read. False: there is nothing for OpenSSL
// yet, or it was no header. A balancer may send its header long before the client says anything.
bool Connection::ReadProxyHeader() {
  for (;;) {
    const std::span<uint8_t> scratch = thread_->scratch();
    const ssize_t n = recv(fd_.get(), scratch.data(), scratch.size(), MSG_PEEK);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
    if (n <= 0) {
      OnHandshakeFailed(n == 0 ? "peer closed" : ErrnoText(errno));
      return false;
    }
    size_t taken = 0;
    const ProxyHeader::Result result = proxy_header_->Take(scratch.first(static_cast<size_t>(n)), &taken);
    // What was just seen there is still there.
    (void)recv(fd_.get(), scratch.data(), taken, 0);
    if (result == ProxyHeader::Result::kMore) continue;
    if (result == ProxyHeader::Result::kMalformed) {
      OnHandshakeFailed("no PROXY header");
      return false;
    }
    if (proxy_header_->source()) peer_ = *proxy_header_->source();
    proxy_header_.reset();
    if (TakePlace()) return taken < static_cast<size_t>(n);
    Close();
    return false;
  }
}

// False: the client has as many connections as it may.
bool Connection::TakePlace() {
  if (!listener_->clients.holds()) return true;
  if (auto place = listener_->clients.Enter(peer_)) {
    place_.emplace(std::move(*place));
    return true;
  }
  listener_->refused.address.fetch_add(1, std::memory_order_relaxed);
  return false;
}

// The peer has nothing to say while we sign: it has left, or sends early what can wait.
void Connection::OnReadableWhileSigning(int events) {
  char byte = 0;
  const ssize_t n = recv(fd_.get(), &byte, 1, MSG_PEEK);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n > 0 && (events & UV_DISCONNECT) == 0) return poll_->Watch(UV_DISCONNECT);
  OnHandshakeFailed(n < 0 ? "connection reset" : "peer closed");
}

// ---- handshake ------------------------------------------------------------------------------------------

void Connection::HandshakeTurn() {
  turn_scheduled_ = false;
  if (state_ != State::kHandshaking && state_ != State::kSigning) return;
  const TlsStream::Result result = tls_->Handshake();
  if (state_ == State::kSigning && result != TlsStream::Result::kSuspended) {
    thread_->HandshakeResumed();
    Enter(State::kHandshaking);
  }
  switch (result) {
    case TlsStream::Result::kDone:
      return OnHandshakeDone();
    case TlsStream::Result::kWantRead:
      Enter(State::kHandshaking);
      return poll_->Watch(tls_->mask());
    case TlsStream::Result::kSuspended: {
      if (tls_->operation().state() != SignOperation::State::kWanted) return;
      const bool enough = listener_->enough_signing();
      Enter(State::kSigning);
      thread_->HandshakeSuspended();
      thread_->stats().signatures_pending.fetch_add(1, std::memory_order_relaxed);
      poll_->Watch(UV_READABLE);
      if (enough) {
        listener_->refused.handshakes.fetch_add(1, std::memory_order_relaxed);
        return FinishSign({.handle = handle_, .reason = "past max_handshakes that wait for a signature"});
      }
      thread_->RequestSignature({
          .handle = handle_,
          .key_id = tls_->operation().key_id(),
          .scheme = tls_->operation().scheme(),
          .message = tls_->operation().TakeMessage(),
          .server_name = ServerName(),
          .peer = peer_.host(),
      });
      return;
    }
    case TlsStream::Result::kClosed:
    case TlsStream::Result::kTruncated:
    case TlsStream::Result::kFailed:
      return OnHandshakeFailed(tls_->failure().empty() ? "peer closed" : tls_->failure());
  }
}

void Connection::FinishSign(struct FinishSign answer) {
  if (state_ != State::kSigning || !tls_->operation().Finish(answer.signature)) return;
  known_failure_ = std::move(answer.reason);
  thread_->stats().signatures_pending.fetch_sub(1, std::memory_order_relaxed);
  turn_scheduled_ = true;
  thread_->ScheduleResume(handle_);
}

void Connection::OnHandshakeDone() {
  SSL* ssl = tls_->ssl();
  resumed_ = SSL_session_reused(ssl) == 1;
  if (client_authentication() != nullptr) ClientAuthentication::Asked(ssl);
  const size_t version = SSL_version(ssl) == TLS1_3_VERSION ? 1 : 0;
  thread_->stats().handshakes[version][resumed_ ? 1 : 0].fetch_add(1, std::memory_order_relaxed);
  thread_->stats().handshake_seconds[resumed_ ? 1 : 0].Observe(uv_hrtime() - hello_ns_);
  if (listener_->mode == ListenerMode::kTcp) {
    Enter(State::kRouting);
    return thread_->Depart(handle_, {});
  }
  Enter(State::kIdle);
  SetDeadline(thread_->draining() ? kDrainGraceMs : listener_->idle_timeout_ms);
  poll_->Watch(UV_READABLE);
  ReadFirstPlaintext();
}

void Connection::OnHandshakeFailed(std::string reason) {
  if (!known_failure_.empty()) reason = std::move(known_failure_);
  if (name_unknown_) reason = "unrecognized name";
  thread_->stats().handshakes_failed.fetch_add(1, std::memory_order_relaxed);
  const bool plaintext = tls_ != nullptr && tls_->operation().state() == SignOperation::State::kNone &&
                         reason == "http request" && listener_->mode == ListenerMode::kHttp;
  thread_->main().events.Push(HandshakeFailed{
      .handle = handle_,
      .listener_id = listener_->id,
      .server_name = ServerName(),
      .peer = peer_.host(),
      .peer_port = peer_.port(),
      .reason = std::move(reason),
      .duration_ms = static_cast<double>(uv_hrtime() - started_ns_) / 1e6,
  });
  if (plaintext) {
    // Somebody typed http://: tell them, as every web server does. Too small for a socket not to take it.
    (void)send(fd_.get(), kPlaintextAnswer.data(), kPlaintextAnswer.size(), MSG_NOSIGNAL);
  }
  if (tls_ == nullptr || state_ == State::kSigning) return Close();
  Linger();  // an alert may be on its way
}

// ---- to the relay thread ----------------------------------------------------------------------------------

void Connection::Leave() {
  poll_.reset();
  deadline_ = 0;
  deadline_queued_ = 0;
}

void Connection::Arrive(TlsThread* thread, std::span<const uint8_t> first) {
  thread_ = thread;
  tls_->UseEgress(&thread->egress());
  // In tcp mode what the peer says first waits in the socket.
  const bool http = listener_->mode == ListenerMode::kHttp;
  poll_ = PollHandle::Create(thread->poller(), fd_.get(), http ? UV_READABLE : 0, this);
  if (poll_ == nullptr) return Abort();
  if (http) return HandOver(first);
  SetDeadline(thread_->handshake_timeout_ms());
  thread_->main().established.Push(Facts());
}

// ---- http: first plaintext, then a worker has it ----------------------------------------------------------

void Connection::ReadFirstPlaintext() {
  size_t size = 0;
  const TlsStream::Result result = tls_->Read(thread_->scratch(), &size);
  if (size > 0) return thread_->Depart(handle_, thread_->scratch().first(size));
  switch (result) {
    case TlsStream::Result::kDone:
    case TlsStream::Result::kSuspended:
      return;
    case TlsStream::Result::kWantRead:
      return poll_->Watch(tls_->mask());
    case TlsStream::Result::kClosed:
      if (tls_->Shutdown() == WriteResult::kBroken) return Close();
      return Linger();
    case TlsStream::Result::kTruncated:
    case TlsStream::Result::kFailed:
      return Linger();
  }
}

void Connection::HandOver(std::span<const uint8_t> first) {
  receiver_ = thread_->NextReceiver();
  int pair[2];
  if (receiver_ == nullptr || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
    const std::string reason = receiver_ == nullptr ? "no HTTP worker" : ErrnoText(errno);
    thread_->main().events.Push(AcceptFailed{listener_->id, reason});
    return Abort();
  }
  UniqueFd ours(pair[0]);
  UniqueFd theirs(pair[1]);
  StartRelay(std::move(ours), first, false);
  // The first bytes are in the socket before the worker has it: it reads them at once. A worker that has gone
  // drops its end, which ends the relay.
  if (state_ == State::kRelaying) receiver_->connections.Push({Facts(), std::move(theirs)});
}

// ---- tcp: connect, then relay -----------------------------------------------------------------------------

void Connection::RouteTo(ConnectUpstream command) {
  if (state_ != State::kRouting) return;
  route_ = std::make_unique<TcpRoute>();
  route_->addresses = std::move(command.addresses);
  route_->connect_timeout_ms = command.connect_timeout_ms;
  route_->idle_timeout_ms = command.idle_timeout_ms;
  route_->preface = std::move(command.preface);
  route_->no_address_left = command.reason.empty() ? "upstream unreachable" : std::move(command.reason);
  ConnectNext();
}

void Connection::ConnectNext() {
  Enter(State::kConnecting);
  while (route_->next < route_->addresses.size()) {
    const SocketAddress& address = route_->addresses[route_->next++];
    const std::string host = address.host();
    route_->current =
        (address.family() == AF_INET6 ? "[" + host + "]" : host) + ":" + std::to_string(address.port());
    route_->poll.reset();
    route_->fd.reset(socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    int error = errno;
    if (!route_->fd.valid() && IsOurShortage(error)) {
      // No address is to blame, and none would do better.
      thread_->main().events.Push(AcceptFailed{listener_->id, ErrnoText(error)});
      break;
    }
    if (route_->fd.valid()) {
      SetNoDelay(route_->fd.get());
      if (connect(route_->fd.get(), address.get(), address.size()) == 0 || errno == EINPROGRESS) {
        route_->poll = PollHandle::Create(thread_->poller(), route_->fd.get(), UV_WRITABLE, this);
        if (route_->poll != nullptr) return SetDeadline(route_->connect_timeout_ms);
      }
      error = errno;
    }
    thread_->main().events.Push(ConnectFailed{route_->current, ErrnoText(error)});
  }
  route_->current.clear();
  CutOff(route_->no_address_left.c_str());
  Close();
}

void Connection::OnUpstreamReady(int status) {
  if (state_ != State::kConnecting) return;
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(route_->fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0 || status < 0) {
    thread_->main().events.Push(ConnectFailed{route_->current, ErrnoText(error != 0 ? error : ECONNREFUSED)});
    return ConnectNext();
  }
  route_->poll.reset();
  StartRelay(std::move(route_->fd), {}, true);
}

// ---- relay ------------------------------------------------------------------------------------------------

void Connection::StartRelay(UniqueFd plain, std::span<const uint8_t> first, bool half_close) {
  relay_ = Relay::Create(thread_->poller(), std::move(plain), tls_.get(), thread_->scratch(), this,
                         {.half_close = half_close});
  if (relay_ == nullptr) return Close();
  Enter(State::kRelaying);
  SetDeadline(0);
  if (route_ != nullptr) relay_->Announce(route_->preface);
  relay_->Begin(first);
}

void Connection::OnRelayProgress() {
  poll_->Watch(relay_->tls_mask());
  if (route_ != nullptr) return SetDeadline(route_->idle_timeout_ms);
  SetDeadline(relay_->peer_blocked() ? kSendTimeoutMs : 0);
}

void Connection::WantPump() {
  if (pump_scheduled_) return;
  pump_scheduled_ = true;
  thread_->SchedulePump(handle_);
}

void Connection::PumpTurn() {
  pump_scheduled_ = false;
  if (state_ == State::kRelaying) relay_->Pump();
}

// A worker says "abort" before it closes its socket, but epoll may show us the close first.
bool Connection::OnPlainEnd() {
  if (receiver_ == nullptr) return true;
  thread_->ReadInbox();
  return state_ == State::kRelaying && !receiver_->gone.load(std::memory_order_acquire);
}

void Connection::OnRelayEnd(Relay::End end, const char* reason) {
  if (state_ != State::kRelaying) return;
  if (end == Relay::End::kClosed) {
    ReportClosed(reason);
    return Linger();
  }
  CutOff(reason);
  Close();
}

// ---- end --------------------------------------------------------------------------------------------------

// Before Close(): what either side has got is not the whole.
void Connection::CutOff(const char* reason) {
  ReportClosed(reason);
  if (route_ != nullptr && relay_ != nullptr) relay_->ResetPlain();
  SetResetOnClose(fd_.get());
}

void Connection::Abort() {
  if (state_ == State::kClosed) return;
  if (state_ == State::kRelaying) ReportClosed("aborted");
  SetResetOnClose(fd_.get());
  Close();
}

void Connection::OnDeadlineEntry(uint64_t when) {
  if (when != deadline_queued_) return;
  deadline_queued_ = 0;
  if (deadline_ == 0) return;
  if (deadline_ <= thread_->now()) return OnDeadline();
  deadline_queued_ = deadline_;
  thread_->AddDeadline(deadline_, handle_);
}

void Connection::OnDeadline() {
  switch (state_) {
    case State::kAccepted:
    case State::kHandshaking:
    case State::kSigning:
      return OnHandshakeFailed("timeout");
    case State::kIdle:
      if (tls_->Shutdown() == WriteResult::kBroken) return Close();
      return Linger();
    case State::kConnecting:
      thread_->main().events.Push(ConnectFailed{route_->current, "connect timeout"});
      return ConnectNext();
    case State::kRelaying:
      CutOff("idle timeout");
      return Close();
    case State::kRouting:
      CutOff("no upstream was chosen in time");
      return Close();
    case State::kLingering:
      if (LingersOn()) return RenewLinger();
      return Close();
    case State::kClosed:
      return;
  }
}

void Connection::OnDrain() {
  if (state_ == State::kIdle) SetDeadline(kDrainGraceMs);
}

// Of http requests the workers have said it.
void Connection::OnStop() {
  if (listener_->mode != ListenerMode::kTcp) return;
  if (state_ == State::kRouting || state_ == State::kConnecting || state_ == State::kRelaying)
    CutOff("proxy stopped");
}

// Sends what is left, then FIN, then waits for the peer's end: closing while the peer still sends would
// answer with a reset, which lets the peer's system throw away what it has not read yet, and ours what it has
// not sent.
void Connection::Linger() {
  if (tls_ != nullptr && tls_->Flush() == WriteResult::kBroken) return Close();
  if (state_ != State::kLingering) linger_end_ = thread_->now() + kLingerMaxMs;
  Enter(State::kLingering);
  if (thread_->now() < linger_end_) RenewLinger();
  if (tls_ != nullptr && tls_->blocked()) return poll_->Watch(UV_WRITABLE);
  Discard();
  if (state_ == State::kClosed) return;  // the peer ended first: closing says all there is to say
  shutdown(fd_.get(), SHUT_WR);
  poll_->Watch(UV_READABLE);
}

// The peer has taken something since the last look and has more to take, or has sent something. One that does
// neither gets no more time. Sending counts only where a worker has had a request: what a peer says to an
// upstream of tcp mode that has gone is lost, and the reset is how it learns that.
bool Connection::LingersOn() const {
  if (thread_->now() >= linger_end_) return false;
  const int unsent = UnsentBytes(fd_.get());
  return (linger_heard_ && receiver_ != nullptr) || (unsent > 0 && unsent < linger_unsent_);
}

void Connection::RenewLinger() {
  linger_unsent_ = UnsentBytes(fd_.get());
  linger_heard_ = false;
  SetDeadline(std::min(kLingerMs, linger_end_ - thread_->now()));
}

void Connection::Discard() {
  for (int reads = 0; reads < 4; ++reads) {
    const ssize_t n = recv(fd_.get(), thread_->scratch().data(), thread_->scratch().size(), 0);
    if (n > 0) {
      linger_heard_ = true;
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    return Close();
  }
}

void Connection::Close() {
  if (state_ == State::kClosed) return;
  Enter(State::kClosed);
  if (poll_ != nullptr) poll_->Watch(0);
  if (relay_ != nullptr) relay_->Stop();
  thread_->Retire(handle_);
}

// ---- bookkeeping ------------------------------------------------------------------------------------------

void Connection::Enter(State state) {
  if (state == state_) return;
  std::atomic<int64_t>* from = CounterOf(*listener_, state_);
  std::atomic<int64_t>* to = CounterOf(*listener_, state);
  if (state_ == State::kSigning) listener_->signing.fetch_sub(1, std::memory_order_relaxed);
  if (state == State::kSigning) listener_->signing.fetch_add(1, std::memory_order_relaxed);
  if (state == State::kClosed) place_.reset();
  state_ = state;
  if (from == to) return;
  if (from == &listener_->handshaking) thread_->HandshakeEnded();
  if (from != nullptr) from->fetch_sub(1, std::memory_order_relaxed);
  if (to != nullptr) to->fetch_add(1, std::memory_order_relaxed);
}

void Connection::SetDeadline(uint64_t after_ms) {
  deadline_ = after_ms == 0 ? 0 : thread_->now() + after_ms;
  // One entry is enough: it looks here when it comes up, and waits again if the deadline has moved on.
  if (deadline_ == 0 || (deadline_queued_ != 0 && deadline_queued_ <= deadline_)) return;
  deadline_queued_ = deadline_;
  thread_->AddDeadline(deadline_, handle_);
}

const Contexts& Connection::contexts() const { return thread_->contexts(); }
const TicketKeys* Connection::ticket_keys() const { return thread_->ticket_keys(); }
const Staples* Connection::staples() const { return thread_->staples(); }

void Connection::ChooseClientAuthentication() {
  client_authentication_ = thread_->client_authentication(listener_->id);
}

void Connection::OnCertificateRefused(std::string reason) {
  if (known_failure_.empty()) known_failure_ = "client certificate refused: " + std::move(reason);
}

std::string Connection::ServerName() const {
  const char* name = tls_ == nullptr ? nullptr : SSL_get_servername(tls_->ssl(), TLSEXT_NAMETYPE_host_name);
  return name == nullptr ? asked_name_ : name;  // a handshake that is refused early: OpenSSL has not read it
}

Established Connection::Facts() const {
  SSL* ssl = tls_->ssl();
  const unsigned char* alpn = nullptr;
  unsigned alpn_size = 0;
  SSL_get0_alpn_selected(ssl, &alpn, &alpn_size);
  const SocketAddress local = SocketAddress::Local(fd_.get());
  const ClientAuthentication* authentication = client_authentication();
  const bool tcp = listener_->mode == ListenerMode::kTcp;
  X509* shown = tcp && !resumed_ ? SSL_get_certificate(ssl) : nullptr;  // borrowed
  return {
      .handle = handle_,
      .listener_id = listener_->id,
      .server_name = ServerName(),
      .alpn_protocol = std::string(reinterpret_cast<const char*>(alpn), alpn_size),
      .tls_version = SSL_get_version(ssl),
      .cipher = SSL_get_cipher_name(ssl),
      .resumed = resumed_,
      .peer = peer_.host(),
      .peer_port = peer_.port(),
      .local_address = local.host(),
      .local_port = local.port(),
      .client_certificate =
          authentication == nullptr ? nullptr : PeerCertificateOf(ssl, authentication->keep_chain()),
      .certificate_signature = shown == nullptr ? "" : OBJ_nid2sn(X509_get_signature_nid(shown)),
      .certificate_key = shown == nullptr ? std::string() : KeyText(X509_get0_pubkey(shown)),
  };
}

void Connection::ReportClosed(const char* reason) {
  if (listener_->mode != ListenerMode::kTcp) return;
  thread_->main().events.Push(ConnectionClosed{
      .connection = Facts(),
      .upstream = route_ == nullptr ? std::string() : route_->current,
      .bytes_received = relay_ == nullptr ? 0 : relay_->bytes_from_peer(),
      .bytes_sent = relay_ == nullptr ? 0 : relay_->bytes_to_peer(),
      .duration_ms = static_cast<double>(uv_hrtime() - started_ns_) / 1e6,
      .reason = reason,
  });
}

}  // namespace sealgate
