// SPDX-License-Identifier: Apache-2.0
#include "support/tls_client.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <stdexcept>

#include "support/front.h"

namespace sealgate::test {

void GiveUpAfterPatience(int fd) {
  const timeval time{.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(kPatience).count(),
                     .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

void ShrinkWindow(int fd) {
  const int receive_buffer = 2048;
  const int segment = 536;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
}

void WidenWindow(int fd) {
  const int receive_buffer = 1'000'000;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
}

namespace {

UniqueFd ConnectWith(uint16_t port, bool tiny_window) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (tiny_window) ShrinkWindow(fd.get());
  const SocketAddress address = Loopback(port);
  SetNoDelay(fd.get());
  if (connect(fd.get(), address.get(), address.size()) != 0) throw std::runtime_error("connect");
  GiveUpAfterPatience(fd.get());
  return fd;
}

}  // namespace

UniqueFd ConnectTo(uint16_t port) { return ConnectWith(port, false); }

void SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

size_t SendUntilStuck(int fd) {
  fcntl(fd, F_SETFL, O_NONBLOCK);
  const std::string chunk(16'000, 'd');
  size_t sent = 0;
  for (int idle = 0; idle < 200;) {
    const ssize_t n = send(fd, chunk.data(), chunk.size(), MSG_NOSIGNAL);
    if (n > 0) {
      sent += static_cast<size_t>(n);
      idle = 0;
    } else {
      ++idle;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  fcntl(fd, F_SETFL, 0);
  return sent;
}

std::optional<std::string> ReadToEnd(int fd) {
  std::string text;
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t n = recv(fd, buffer.data(), buffer.size(), 0);
    if (n == 0) return text;
    if (n < 0) return std::nullopt;
    text.append(buffer.data(), static_cast<size_t>(n));
  }
}

std::string ReadExactly(int fd, size_t count) {
  std::string text(count, '\0');
  size_t have = 0;
  while (have < count) {
    const ssize_t n = recv(fd, text.data() + have, count - have, 0);
    if (n <= 0) break;
    have += static_cast<size_t>(n);
  }
  text.resize(have);
  return text;
}

TlsClient::TlsClient(uint16_t port, const Options& options)
    : fd_(ConnectWith(port, options.tiny_window)), ctx_(SSL_CTX_new(TLS_client_method())) {
  SendAll(fd_.get(), options.preface);
  SSL_CTX_set_session_cache_mode(ctx_.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(ctx_.get(), [](SSL* ssl, SSL_SESSION* session) {
    static_cast<TlsClient*>(SSL_get_app_data(ssl))->session_.reset(session);
    return 1;  // ours now
  });
  ssl_.reset(SSL_new(ctx_.get()));
  SSL_set_app_data(ssl(), this);
  SSL_set_info_callback(ssl(), [](const SSL* ssl, int where, int value) {
    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT && (value & 0xff) != SSL_AD_CLOSE_NOTIFY)
      static_cast<TlsClient*>(SSL_get_app_data(ssl))->alert_ = value & 0xff;
  });
  if (options.version != 0) {
    SSL_set_min_proto_version(ssl(), options.version);
    SSL_set_max_proto_version(ssl(), options.version);
  }
  if (!options.signature_schemes.empty() &&
      SSL_set1_sigalgs_list(ssl(), options.signature_schemes.c_str()) != 1) {
    throw std::runtime_error("sigalgs " + options.signature_schemes);
  }
  if (!options.server_name.empty()) SSL_set_tlsext_host_name(ssl(), options.server_name.c_str());
  std::string alpn;
  for (const std::string& protocol : options.alpn) alpn += static_cast<char>(protocol.size()) + protocol;
  if (!alpn.empty()) {
    SSL_set_alpn_protos(ssl(), reinterpret_cast<const unsigned char*>(alpn.data()),
                        static_cast<unsigned>(alpn.size()));
  }
  if (options.session != nullptr) SSL_set_session(ssl(), options.session);
  SSL_set_fd(ssl(), fd_.get());
  SSL_set_connect_state(ssl());
}

bool TlsClient::Handshake() {
  ERR_clear_error();
  return SSL_do_handshake(ssl()) == 1 || Failed(-1);
}

void TlsClient::BeginHandshake() {
  // The answer is not waited for: a receive timeout of the least possible length makes the socket say so.
  const timeval at_once{.tv_sec = 0, .tv_usec = 1};
  setsockopt(fd(), SOL_SOCKET, SO_RCVTIMEO, &at_once, sizeof at_once);
  SSL_do_handshake(ssl());
  GiveUpAfterPatience(fd());
}

bool TlsClient::Write(std::string_view text) {
  ERR_clear_error();
  size_t written = 0;
  if (SSL_write_ex(ssl(), text.data(), text.size(), &written) == 1) return true;
  return Failed(-1);
}

std::string TlsClient::Read(size_t capacity) {
  ERR_clear_error();
  std::string text(capacity, '\0');
  size_t size = 0;
  errno = 0;
  const int result = SSL_read_ex(ssl(), text.data(), capacity, &size);
  if (result != 1) Failed(result);
  text.resize(size);
  return text;
}

void TlsClient::RequestKeyUpdate() {
  SSL_key_update(ssl(), SSL_KEY_UPDATE_REQUESTED);
  SSL_do_handshake(ssl());
}

std::string TlsClient::ReadExactly(size_t count) {
  std::string text;
  while (text.size() < count) {
    const std::string part = Read(std::min(count - text.size(), size_t{64 * 1024}));
    if (part.empty()) break;
    text += part;
  }
  return text;
}

std::string TlsClient::ReadToEnd() {
  std::string text;
  for (;;) {
    const std::string part = Read();
    if (part.empty()) return text;
    text += part;
  }
}

bool TlsClient::Failed(int result) {
  const int system_error = errno;
  switch (SSL_get_error(ssl(), result)) {
    case SSL_ERROR_ZERO_RETURN:
      end_ = End::kCloseNotify;
      break;
    case SSL_ERROR_SYSCALL:
      end_ = system_error == ECONNRESET || system_error == EPIPE ? End::kReset : End::kOther;
      break;
    default:
      if (alert_ >= 0)
        end_ = End::kAlert;
      else if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        end_ = End::kTruncated;
      else
        end_ = End::kOther;
  }
  return false;
}

SslSessionPtr TlsClient::session() {
  if (session_ == nullptr && SSL_version(ssl()) == TLS1_2_VERSION) session_.reset(SSL_get1_session(ssl()));
  if (session_ != nullptr && SSL_SESSION_is_resumable(session_.get()) == 0) session_.reset();
  return std::move(session_);
}

void TlsClient::Reset() {
  SetResetOnClose(fd());
  fd_.reset();
}

std::string TlsClient::alpn() const {
  const unsigned char* protocol = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl(), &protocol, &size);
  return size == 0 ? std::string() : std::string(reinterpret_cast<const char*>(protocol), size);
}

int TlsClient::peer_key_type() const {
  const X509* certificate = SSL_get0_peer_certificate(ssl());
  return certificate == nullptr ? EVP_PKEY_NONE : EVP_PKEY_get_id(X509_get0_pubkey(certificate));
}

}  // namespace sealgate::test
