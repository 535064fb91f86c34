// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/x509v3.h>

#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "contexts.h"
#include "openssl_ptr.h"
#include "provider.h"

namespace sealgate {

// One name or key that is let in. TypeScript has checked and normalised it.
struct AllowRule {
  enum class Kind : uint8_t {
    kDns,     // exact, or "*." for one label
    kUri,     // exact, or with "*" after the last slash for everything beneath
    kSpiffe,  // as kUri, of a certificate that is an X.509-SVID: exactly one URI (SPIFFE X509-SVID §2)
    kEmail,   // exact
    kSpki,    // base64 of the SHA-256 of the SubjectPublicKeyInfo (RFC 7469 §2.4)
  };
  Kind kind = Kind::kDns;
  std::string pattern;
};

struct ClientAuthenticationSpec {
  bool require = false;
  std::vector<Bytes> authorities{};       // DER; trust anchors, or intermediates beneath them
  std::vector<Bytes> revocation_lists{};  // DER; none: revocation is not checked
  bool check_whole_chain = true;          // with lists: every certificate but the anchor, or the leaf only
  uint32_t depth = 0;                     // intermediates at most
  std::vector<AllowRule> allow{};         // any of them; empty: every verified certificate
  bool keep_chain = false;                // somebody wants the intermediates: they go into tickets as well
};

// Client certificates on one listener: asked for, verified by OpenSSL, compared with the rules. All of it
// happens inside the handshake, so a client that is refused gets an alert and nothing above ever sees it.
//
// Owns:       the store of anchors and revocation lists. Immutable; shared by all TLS threads. A connection
//             keeps the one that it was asked by: a handshake under way ends with it after a swap.
// Resumption: a ticket carries the verified leaf. It is bound (session id context, RFC 8446 §4.6.1 leaves it
//             to us) to a digest of everything above: another policy, authority or revocation list means a
//             full handshake. It also ends with the first of: notAfter of the verified chain, nextUpdate of
//             the lists, the ticket lifetime counted from the full handshake, however often it is renewed.
class ClientAuthentication final {
 public:
  using Created = std::variant<std::shared_ptr<const ClientAuthentication>, OpensslFailure>;
  [[nodiscard]] static Created Create(const CryptoLibrary& library, const ClientAuthenticationSpec& spec);

  // For each ClientHello, in its callback, after the credentials are chosen. Also binds the session: to this
  // and to what the client is served with. False: out of memory.
  [[nodiscard]] bool Ask(SSL* ssl, const SessionBinding& server) const;
  // After the handshake: gives back what only the question needed.
  static void Asked(SSL* ssl) { SSL_set0_CA_list(ssl, nullptr); }

  [[nodiscard]] bool Allows(X509* leaf) const;
  [[nodiscard]] bool keep_chain() const { return keep_chain_; }
  [[nodiscard]] time_t lists_end() const { return lists_end_; }

 private:
  ClientAuthentication() = default;
  [[nodiscard]] bool AddAuthorities(const CryptoLibrary& library, const std::vector<Bytes>& list,
                                    std::vector<X509Ptr>* authorities);

  X509StorePtr store_;
  X509NamesPtr names_;       // for the CertificateRequest
  SessionBinding digest_{};  // of all that decides who may come in
  std::vector<AllowRule> allow_;
  bool require_ = false;
  bool keep_chain_ = false;
  int depth_ = 0;
  time_t lists_end_ = 0;  // the first nextUpdate; 0: there are no lists
};

// For SSL_CTX_set_session_ticket_cb, on every context: the first when a ticket is made, its lifetime set.
[[nodiscard]] bool KeepIdentityInTicket(SSL* ssl);
SSL_TICKET_RETURN OnTicketOpened(SSL* ssl, SSL_SESSION* session, const unsigned char* name, size_t name_size,
                                 SSL_TICKET_STATUS status, void* argument);

// True when a name (as SubjectAltNames gives it, "DNS:…") fits a rule of one of the name kinds.
[[nodiscard]] bool NameFits(const AllowRule& rule, std::string_view name);

}  // namespace sealgate
