// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "openssl_ptr.h"
#include "socket.h"

namespace sealgate::test {

// A connected blocking TCP socket that gives up after a while, so that a test never hangs.
[[nodiscard]] UniqueFd ConnectTo(uint16_t port);
// Before connect or listen: the other end's socket is full after some 30 KB that are not read.
void ShrinkWindow(int fd);
// Undoes it, for a reader in a hurry.
void WidenWindow(int fd);
// Makes blocking calls on a socket fail after a while.
void GiveUpAfterPatience(int fd);
void SendAll(int fd, std::string_view bytes);
// Sends until the other side has taken nothing for a while; says how much that was.
[[nodiscard]] size_t SendUntilStuck(int fd);
// Reads until the end of the stream; nullopt when it ends with an error (a reset, or nothing in time).
[[nodiscard]] std::optional<std::string> ReadToEnd(int fd);
std::string ReadExactly(int fd, size_t count);

// OpenSSL's own client over a blocking socket.
class TlsClient final {
 public:
  struct Options {
    int version = 0;  // TLS1_2_VERSION or TLS1_3_VERSION only; 0: both
    std::string server_name{"one.example"};
    std::string signature_schemes{};  // OpenSSL's syntax; empty: OpenSSL's default
    std::vector<std::string> alpn{};
    SSL_SESSION* session = nullptr;
    std::string preface{};     // what a balancer sends before the client's first byte
    bool tiny_window = false;  // the server's socket is full after some 30 KB
  };
  explicit TlsClient(uint16_t port) : TlsClient(port, Options{}) {}
  TlsClient(uint16_t port, const Options& options);

  // The wire has what the handshake says; false when it failed: see error() and alert().
  [[nodiscard]] bool Handshake();
  // One step of a handshake on a non-blocking socket: sends what there is to send.
  void BeginHandshake();

  bool Write(std::string_view text);
  [[nodiscard]] std::string Read(size_t capacity = 64 * 1024);  // empty: see end()
  std::string ReadExactly(size_t count);
  // Asks the server to answer with a KeyUpdate of its own (RFC 8446 §4.6.3).
  void RequestKeyUpdate();
  // Everything until the end, whatever kind of end.
  std::string ReadToEnd();
  void CloseNotify() { SSL_shutdown(ssl()); }

  enum class End : uint8_t {
    kNone,
    kCloseNotify,
    kTruncated,  // FIN without close_notify
    kReset,
    kAlert,
    kOther,
  };
  [[nodiscard]] End end() const { return end_; }
  [[nodiscard]] int alert() const { return alert_; }  // received; -1: none
  [[nodiscard]] SSL* ssl() const { return ssl_.get(); }
  [[nodiscard]] int fd() const { return fd_.get(); }
  void Drop() { fd_.reset(); }
  void Reset();
  // The newest ticket; in TLS 1.2 also what a resumed session has become. Null when it cannot be resumed.
  [[nodiscard]] SslSessionPtr session();
  [[nodiscard]] bool resumed() const { return SSL_session_reused(ssl()) == 1; }
  [[nodiscard]] std::string alpn() const;
  [[nodiscard]] int peer_key_type() const;  // EVP_PKEY_…

 private:
  bool Failed(int result);

  UniqueFd fd_;
  SslCtxPtr ctx_;
  SslPtr ssl_;
  SslSessionPtr session_;  // the newest ticket
  End end_ = End::kNone;
  int alert_ = -1;
};

}  // namespace sealgate::test
