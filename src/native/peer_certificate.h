// SPDX-License-Identifier: Apache-2.0
// What a verified client certificate says about its holder, as plain values.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "openssl_ptr.h"

namespace sealgate {

struct PeerCertificate {
  std::vector<uint8_t> certificate;         // DER of the leaf
  std::vector<std::vector<uint8_t>> chain;  // DER: its issuers without the trust anchor; where asked for
  std::string subject;                      // RFC 2253, ASCII
  std::string common_name;                  // UTF-8; empty: none, several, or one that nobody should read
  std::vector<std::string> subject_alt_names;
  std::string serial;       // hexadecimal, upper case
  std::string fingerprint;  // SHA-256 of the DER, hexadecimal, lower case
};

// Null when the peer has shown none. Also of a resumed connection.
[[nodiscard]] std::shared_ptr<const PeerCertificate> PeerCertificateOf(SSL* ssl, bool with_chain);

// "DNS:…", "URI:…", "email:…", "IP:…". Names with other than graphic ASCII are left out: none of these kinds
// may have them, and a name with a NUL or a line break in it is a trap for whoever reads on.
[[nodiscard]] std::vector<std::string> SubjectAltNames(X509* certificate);
// All that the certificate has, those included that SubjectAltNames leaves out.
[[nodiscard]] size_t CountUris(X509* certificate);
// RFC 2253, other than ASCII escaped, at most a few hundred characters.
[[nodiscard]] std::string SubjectText(X509* certificate);
[[nodiscard]] std::string SerialText(X509* certificate);
// The issuers that OpenSSL found between leaf and anchor, in this very handshake.
[[nodiscard]] std::vector<std::vector<uint8_t>> VerifiedIssuers(SSL* ssl);
[[nodiscard]] std::vector<uint8_t> ToDer(X509* certificate);

// What a ticket keeps beside the leaf (SSL_SESSION_set1_ticket_appdata).
struct TicketIdentity {
  int64_t ends = 0;  // seconds since 1970: past it the ticket is worth nothing
  std::vector<std::vector<uint8_t>> chain;
};
[[nodiscard]] std::vector<uint8_t> Pack(const TicketIdentity& identity);
// Ends 0 for what is not one.
[[nodiscard]] TicketIdentity UnpackTicketIdentity(SSL_SESSION* session);

}  // namespace sealgate
