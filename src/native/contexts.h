// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "openssl_ptr.h"
#include "provider.h"
#include "ticket_keys.h"

namespace sealgate {

using Bytes = std::vector<uint8_t>;

struct CertificateSpec {
  std::vector<Bytes> chain;  // DER, leaf first
  uint32_t key_id = 0;
};

struct CredentialsSpec {
  std::vector<std::string> names;  // lower case, exact or "*." for one label
  std::vector<CertificateSpec> certificates;
  std::string signature_schemes;
};

struct PolicySpec {
  int min_version = TLS1_2_VERSION;
  std::string ciphers;
  std::string ciphersuites;
  std::string groups;
  uint32_t tickets = 1;
  uint32_t ticket_lifetime_s = 0;
};

// What OpenSSL's callbacks ask of the connection they are called for.
class HandshakeDelegate {
 public:
  [[nodiscard]] virtual const class Contexts& contexts() const = 0;
  [[nodiscard]] virtual const TicketKeys* ticket_keys() const = 0;
  // Wire form of RFC 7301 §3.1: length-prefixed names in preference order. Empty: ALPN is not spoken.
  [[nodiscard]] virtual const Bytes& alpn_protocols() const = 0;

 protected:
  ~HandshakeDelegate() = default;
};

// All credentials of a configuration: one SSL_CTX for each set of names, found by server name.
//
// Owns:   the contexts. Immutable after Create(); shared by all TLS threads. An SSL keeps its SSL_CTX alive:
//         handshakes under way survive a swap.
// Names:  exact first, then a wildcard of one label, then the default, which is the first.
class Contexts final {
 public:
  using Created = std::variant<std::shared_ptr<const Contexts>, OpensslFailure>;
  [[nodiscard]] static Created Create(const CryptoLibrary& library,
                                      const std::vector<CredentialsSpec>& credentials,
                                      const PolicySpec& policy);

  // Null when OpenSSL is out of memory. The delegate must outlive the SSL.
  [[nodiscard]] SslPtr NewSsl(HandshakeDelegate* delegate) const;
  [[nodiscard]] SSL_CTX* Find(std::string_view server_name) const;  // null: unknown name

 private:
  Contexts() = default;

  std::vector<SslCtxPtr> contexts_;
  std::unordered_map<std::string, SSL_CTX*> by_name_;      // borrowed from contexts_
  std::unordered_map<std::string, SSL_CTX*> by_wildcard_;  // key: what follows the first label, with its dot
};

}  // namespace sealgate
