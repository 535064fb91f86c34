// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "openssl_ptr.h"
#include "provider.h"
#include "staples.h"
#include "ticket_keys.h"

namespace sealgate {

using Bytes = std::vector<uint8_t>;
// OpenSSL's session id context: where a ticket is good.
using SessionBinding = std::array<uint8_t, 32>;
// The digest of words that are the same in every process and on every machine of a fleet.
[[nodiscard]] SessionBinding BindingTo(std::string_view words);
// Good where both are the same.
[[nodiscard]] SessionBinding Both(const SessionBinding& a, const SessionBinding& b);

// An OpenSSL whose SSL_free_buffers() leaves no pointer into what it has freed (CVE-2024-4741). The number is
// that of the library that runs: OpenSSL_version_num().
[[nodiscard]] bool FreesBuffersSafely(unsigned long openssl_version);

struct CertificateSpec {
  std::vector<Bytes> chain;  // DER, leaf first
  uint32_t key_id = 0;
};

// What is offered to a client. OpenSSL's words, colon-separated, most wanted first.
struct PolicySpec {
  int min_version = TLS1_2_VERSION;
  int max_version = TLS1_3_VERSION;
  std::string ciphers;  // TLS 1.2; empty: it is not spoken
  std::string ciphersuites;
  std::string groups;
  uint32_t tickets = 1;  // after a full handshake; 0: there is no resumption
  uint32_t ticket_lifetime_s = 0;

  friend bool operator==(const PolicySpec&, const PolicySpec&) = default;
};

struct CredentialsSpec {
  std::vector<std::string> names;  // lower case, exact or "*." for one label
  std::vector<CertificateSpec> certificates;
  std::string signature_schemes;
  // Code points. A client that can verify none of them is spoken to in TLS 1.2: there is a key here that can
  // sign no other version. Empty: no client is looked at.
  std::vector<uint16_t> tls13_schemes;
  PolicySpec policy;
};

// What some listeners serve.
struct EndpointSpec {
  std::vector<uint32_t> listener_ids;
  // A server name that nobody here has: the alert unrecognized_name (RFC 6066 §3) instead of the default.
  bool refuse_unknown_names = false;
  std::vector<CredentialsSpec> credentials;
};

// What OpenSSL's callbacks ask of the connection they are called for.
class HandshakeDelegate {
 public:
  [[nodiscard]] virtual const class Contexts& contexts() const = 0;
  [[nodiscard]] virtual uint32_t listener_id() const = 0;
  [[nodiscard]] virtual const TicketKeys* ticket_keys() const = 0;
  // Wire form of RFC 7301 §3.1: length-prefixed names in preference order. Empty: ALPN is not spoken.
  [[nodiscard]] virtual const Bytes& alpn_protocols() const = 0;
  // What the listener does with a connection: tickets are good where it is the same.
  [[nodiscard]] virtual const SessionBinding& session_binding() const = 0;
  // Of each ClientHello: the client's own bytes; empty: none.
  virtual void OnServerName(std::string_view name) = 0;
  [[nodiscard]] virtual std::string_view asked_name() const = 0;
  // The handshake ends with unrecognized_name.
  virtual void OnUnknownServerName() = 0;
  // Takes the policy of this moment for client_authentication(). Called for every ClientHello: the SSL is
  // about to be told the same one.
  virtual void ChooseClientAuthentication() = 0;
  // What the client was asked by, also after the listener has another. Null: it was not asked.
  [[nodiscard]] virtual const class ClientAuthentication* client_authentication() const = 0;
  // For the log; the handshake fails by itself.
  virtual void OnCertificateRefused(std::string reason) = 0;
  // Null: nobody has given any yet.
  [[nodiscard]] virtual const Staples* staples() const = 0;
  // The client asks for the status of a certificate that must not be shown without; the handshake fails.
  virtual void OnStapleMissing() = 0;

 protected:
  ~HandshakeDelegate() = default;
};

// All credentials of a configuration: one SSL_CTX for each set of names on each endpoint, found by listener
// and server name.
//
// Owns:   the contexts. Immutable after Create(); shared by all TLS threads. An SSL keeps its SSL_CTX alive:
//         handshakes under way survive a swap.
// Names:  exact first, then a wildcard of one label, then the default, which is the endpoint's first.
// Tickets: bound to the policy and to the name as it is configured, not to the certificate: they survive its
//         renewal, and the hour in which an HSM is away and another certificate stands in for the name.
class Contexts final {
 public:
  struct Options {
    int key_log_fd = -1;  // borrowed; every secret of every connection is written to it. -1: none
  };
  using Created = std::variant<std::shared_ptr<const Contexts>, OpensslFailure>;
  [[nodiscard]] static Created Create(const CryptoLibrary& library,
                                      const std::vector<EndpointSpec>& endpoints, const Options& options);

  // Null when OpenSSL is out of memory, or no credentials are for the delegate's listener. The delegate must
  // outlive the SSL.
  [[nodiscard]] SslPtr NewSsl(HandshakeDelegate* delegate) const;

  // What one name is served with.
  struct Served {
    SSL_CTX* context = nullptr;  // borrowed
    SessionBinding binding{};
  };
  struct Match {
    const Served* served = nullptr;  // borrowed; null: no name, or an unknown one
    bool refused = false;            // unknown, and not served with the default
  };
  [[nodiscard]] Match Find(uint32_t listener_id, std::string_view server_name) const;

 private:
  struct Endpoint {
    std::vector<SslCtxPtr> contexts;
    std::unordered_map<std::string, Served> by_name;
    std::unordered_map<std::string, Served> by_wildcard;  // key: what follows the first label, with its dot
    bool refuse_unknown_names = false;
  };

  Contexts() = default;
  // Empty when all went well.
  static std::optional<OpensslFailure> Fill(Endpoint& endpoint, const CryptoLibrary& library,
                                            const EndpointSpec& spec, const Options& options);
  [[nodiscard]] const Endpoint* EndpointOf(uint32_t listener_id) const;

  std::vector<std::unique_ptr<Endpoint>> endpoints_;
  std::unordered_map<uint32_t, const Endpoint*> by_listener_;  // borrowed from endpoints_
};

}  // namespace sealgate
