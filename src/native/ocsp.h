// SPDX-License-Identifier: Apache-2.0
// The status of one certificate, asked for and understood (RFC 6960). Knows no network and no clock: when an
// answer is fresh enough is for TypeScript to say.
#pragma once

#include <openssl/ocsp.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "openssl_ptr.h"
#include "staples.h"

namespace sealgate {

// What a responder has signed.
struct OcspStatus {
  const char* status = "";     // good, revoked, unknown
  int64_t this_update_s = 0;   // Unix time
  int64_t next_update_s = 0;   // 0: not said
  int64_t signer_ends_s = 0;   // notAfter of whoever signed
  int64_t revoked_s = 0;       // of revoked
  std::string revoked_reason;  // of revoked, where it is said; RFC 5280 §5.3.1
};

// Why nothing in an answer can be relied on. The reason is a word for metrics.
struct OcspRefusal {
  const char* reason = "";
  std::string detail;
};

// A certificate, the questions about it and the answers to them.
//
// Owns:   parsed copies of both certificates.
// Thread: any, one at a time. The default library context: there is no private key here.
class OcspSubject final {
 public:
  using Bytes = std::vector<uint8_t>;
  using Created = std::variant<std::unique_ptr<OcspSubject>, OpensslFailure>;
  // DER. Without an issuer there is no request, and no answer can be read.
  [[nodiscard]] static Created Create(const Bytes& leaf, const std::optional<Bytes>& issuer);

  // Where the certificate says its status can be asked for (authorityInfoAccess, RFC 5280 §4.2.2.1).
  [[nodiscard]] std::vector<std::string> Responders() const;
  // The certificate must not be used without a stapled status (TLS Feature, RFC 7633).
  [[nodiscard]] bool MustStaple() const;
  [[nodiscard]] const Fingerprint& fingerprint() const { return fingerprint_; }
  // DER OCSPRequest for this one certificate, without a nonce: answers may be made in advance (RFC 5019).
  // Empty without an issuer.
  [[nodiscard]] const Bytes& request() const { return request_; }

  // Checks that the answer is whole, is for this certificate, and is signed by the issuer or by whom the
  // issuer has given this very task (RFC 6960 §4.2.2.2).
  [[nodiscard]] std::variant<OcspStatus, OcspRefusal> Read(const Bytes& response) const;

 private:
  OcspSubject() = default;
  [[nodiscard]] bool MakeRequest();
  [[nodiscard]] OCSP_SINGLERESP* FindOurs(OCSP_BASICRESP* basic) const;

  X509Ptr leaf_;
  X509Ptr issuer_;        // null: unknown
  X509StorePtr anchor_;   // the issuer, as the only one who is trusted
  X509StackPtr issuers_;  // the issuer again, where OpenSSL looks for who signed
  Fingerprint fingerprint_{};
  Bytes request_;
};

}  // namespace sealgate
