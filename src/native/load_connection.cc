// SPDX-License-Identifier: Apache-2.0
#include "load_connection.h"

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <utility>

namespace sealgate {

namespace {

// Tickets, HTTP/2 settings: read and forgotten, but for what OpenSSL makes of it.
constexpr int kUnusedBytes = 4096;

// Until there is nothing more. Returns SSL_read's result, never above 0.
int ReadAll(SSL* ssl) {
  std::array<char, kUnusedBytes> unused{};
  int result = 0;
  do result = SSL_read(ssl, unused.data(), kUnusedBytes);
  while (result > 0);
  return result;
}

std::string ErrnoName(int error) { return uv_err_name(uv_translate_sys_error(error)); }

UniqueFd NonBlockingSocket(int family) {
#ifdef SOCK_NONBLOCK
  return UniqueFd(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
#else
  UniqueFd fd(socket(family, SOCK_STREAM, 0));
  if (fd.valid()) {
    fcntl(fd.get(), F_SETFL, O_NONBLOCK);
    fcntl(fd.get(), F_SETFD, FD_CLOEXEC);
  }
  return fd;
#endif
}

// The port is found by connect(): with an address of its own each pair of ends may use it once more.
void BindWithoutPort(int fd) {
#ifdef IP_BIND_ADDRESS_NO_PORT
  const int on = 1;
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
#endif
}

}  // namespace

LoadConnection::Progress LoadConnection::Open(Poller* poller, const LoadContext& context,
                                              const std::optional<SocketAddress>& from) {
  const ErrorQueueScope errors;
  fd_ = NonBlockingSocket(route_.server.family());
  if (!fd_.valid()) return Fail(ErrnoName(errno));
  SetNoDelay(fd_.get());
  // However it ends: also one that is not waited for when the load is over.
  if (route_.reset) SetResetOnClose(fd_.get());
  if (from) {
    BindWithoutPort(fd_.get());
    if (bind(fd_.get(), from->get(), from->size()) != 0) return Fail(ErrnoName(errno));
  }
  if (connect(fd_.get(), route_.server.get(), route_.server.size()) != 0 && errno != EINPROGRESS)
    return Fail(ErrnoName(errno));
  if (poller != nullptr) poll_ = PollHandle::Create(*poller, fd_.get(), UV_WRITABLE, this);
  ssl_ = context.NewConnection(task.resume);
  if (poll_ == nullptr || ssl_ == nullptr || SSL_set_fd(ssl_.get(), fd_.get()) != 1) return Fail("ENOMEM");
  return Progress::kWaiting;
}

// Also while it connects: a socket that is not connected yet says that it cannot be written to.
LoadConnection::Progress LoadConnection::Shake() {
  const ErrorQueueScope errors;
  errno = 0;
  return Wanted(SSL_do_handshake(ssl_.get()));
}

LoadConnection::Progress LoadConnection::AwaitTicket(const LoadContext& context) {
  if (context.has_ticket()) return Progress::kDone;
  const ErrorQueueScope errors;
  errno = 0;
  const int result = ReadAll(ssl_.get());
  return context.has_ticket() ? Progress::kDone : Wanted(result);
}

LoadConnection::Progress LoadConnection::Leave() {
  const ErrorQueueScope errors;
  if (route_.reset) return Reset();
  if (!said_end_) {
    const Progress said = Say();
    if (said != Progress::kDone) return said;
  }
  return Drain();
}

LoadConnection::Progress LoadConnection::Reset() {
  // In TLS 1.3 the server still writes its tickets. A reset before that would be a failed handshake to it.
  if (SSL_version(ssl_.get()) == TLS1_3_VERSION) {
    const int result = ReadAll(ssl_.get());
    if (!std::exchange(read_once_, true) && Wanted(result) == Progress::kWaiting) return Progress::kWaiting;
  }
  return Progress::kDone;
}

// 0 and 1 both say that close_notify is written.
LoadConnection::Progress LoadConnection::Say() {
  const int result = SSL_shutdown(ssl_.get());
  if (result < 0) return Wanted(result);
  said_end_ = true;
  shutdown(fd_.get(), SHUT_WR);
  return Progress::kDone;
}

// Closing a socket that has unread bytes would be a reset.
LoadConnection::Progress LoadConnection::Drain() {
  if (route_.tickets) {
    const Progress progress = Wanted(ReadAll(ssl_.get()));
    if (progress == Progress::kWaiting) return progress;
  }
  std::array<char, kUnusedBytes> unused{};
  ssize_t count = 0;
  do count = recv(fd_.get(), unused.data(), unused.size(), 0);
  while (count > 0);
  if (count == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) return Progress::kDone;
  poll_->Watch(UV_READABLE);
  return Progress::kWaiting;
}

void LoadConnection::OnPoll(PollHandle& /*handle*/, int /*status*/, int /*events*/) {
  owner_->OnReady(*this);
}

LoadConnection::Progress LoadConnection::Wanted(int result) {
  if (result > 0) return Progress::kDone;
  const int error = SSL_get_error(ssl_.get(), result);
  if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return Fail(ReasonOf(error));
  poll_->Watch(error == SSL_ERROR_WANT_READ ? UV_READABLE : UV_WRITABLE);
  return Progress::kWaiting;
}

std::string LoadConnection::ReasonOf(int ssl_error) const {
  const int system_error = errno;
  const long verified = SSL_get_verify_result(ssl_.get());
  if (verified != X509_V_OK && SSL_get_verify_mode(ssl_.get()) != SSL_VERIFY_NONE)
    return X509_verify_cert_error_string(verified);
  if (ssl_error == SSL_ERROR_ZERO_RETURN) return "closed by the server";
  if (ssl_error == SSL_ERROR_SYSCALL && system_error != 0) return ErrnoName(system_error);
  std::vector<std::string> errors = TakeOpensslErrors();
  return errors.empty() ? "closed by the server" : std::move(errors.front());
}

LoadConnection::Progress LoadConnection::Fail(std::string reason) {
  reason_ = std::move(reason);
  return Progress::kFailed;
}

}  // namespace sealgate
