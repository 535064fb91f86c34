// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "contexts.h"
#include "openssl_ptr.h"
#include "support/key_pair.h"
#include "support/tls_client.h"

namespace sealgate::test {

// A client's key and what was issued for it.
struct Identity {
  EvpPkeyPtr key;
  X509Ptr certificate;
  std::vector<Bytes> chain;  // what the client sends after its leaf
};

// A certificate authority made for one test; its key is in this process only.
class Authority final {
 public:
  struct Request {
    std::string subject{"client"};
    std::string names{};  // OpenSSL's syntax: "DNS:a,URI:b"
    std::string usage{"clientAuth"};
    std::string responder{};    // authorityInfoAccess: OCSP
    bool must_staple = false;   // RFC 7633
    long not_before_s = -3600;  // from now
    long not_after_s = 86'400;
    KeyKind kind = KeyKind::kP256;
  };

  explicit Authority(const std::string& name) : Authority(name, nullptr) {}
  // An intermediate.
  Authority(const std::string& name, Authority* issuer);

  [[nodiscard]] Bytes der() const;
  [[nodiscard]] X509* certificate() const { return certificate_.get(); }
  [[nodiscard]] EVP_PKEY* key() const { return key_.get(); }
  [[nodiscard]] Identity Issue(const Request& request);
  [[nodiscard]] Identity Issue() { return Issue(Request{}); }
  // A revocation list of everything in it; not_after_s is its nextUpdate, from now.
  [[nodiscard]] Bytes Revoke(const std::vector<const Identity*>& revoked, long not_after_s = 86'400);

 private:
  [[nodiscard]] X509Ptr Make(const std::string& subject, EVP_PKEY* key) const;
  void Sign(X509* certificate) const;

  Authority* issuer_;  // borrowed; null: self-signed
  EvpPkeyPtr key_;
  X509Ptr certificate_;
};

// The client shows this certificate when it is asked for one.
void Present(TlsClient& client, const Identity& identity);

}  // namespace sealgate::test
