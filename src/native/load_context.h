// SPDX-License-Identifier: Apache-2.0
// What the handshakes of one load generator have in common: what they offer, whom they believe, and the
// newest session ticket.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "openssl_ptr.h"

namespace sealgate {

struct LoadOffer {
  std::string server_name{};  // RFC 6066 §3; empty: none is sent
  int version = TLS1_3_VERSION;
  std::vector<std::string> alpn{};  // empty: ALPN is not spoken
  bool verify = true;
  std::string authorities{};    // PEM, of verify
  std::string expected_name{};  // DNS name or IP address that the certificate must have, of verify
};

// Verifies each certificate once: who sees the same bytes again need not walk the same chain again. The
// server's signature is verified in every handshake, that is part of the protocol.
//
// Thread: one.
class LoadContext final {
 public:
  using Created = std::variant<std::unique_ptr<LoadContext>, OpensslFailure>;
  [[nodiscard]] static Created Create(const LoadOffer& offer);
  LoadContext(const LoadContext&) = delete;
  LoadContext& operator=(const LoadContext&) = delete;

  // With the newest ticket if resume and if there is one. Null when OpenSSL has no memory. Must go before
  // this.
  [[nodiscard]] SslPtr NewConnection(bool resume) const;
  [[nodiscard]] bool has_ticket() const { return ticket_ != nullptr; }

 private:
  LoadContext() = default;
  [[nodiscard]] bool Fill(const LoadOffer& offer);
  [[nodiscard]] bool Trust(const std::string& authorities);
  [[nodiscard]] bool Expect(const std::string& name);
  [[nodiscard]] bool Verify(X509_STORE_CTX* chain);
  static int OnTicket(SSL* ssl, SSL_SESSION* session);

  SslCtxPtr context_;
  std::string server_name_;
  SslSessionPtr ticket_;                        // no connection has this one, so none can spoil it
  std::vector<std::vector<uint8_t>> verified_;  // DER of leaves
};

}  // namespace sealgate
