// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "openssl_ptr.h"

namespace sealgate {

// SHA-256 of a certificate's DER.
using Fingerprint = std::array<uint8_t, 32>;

// The all-zero fingerprint, which no certificate has, when OpenSSL has no memory.
[[nodiscard]] Fingerprint FingerprintOf(const X509* certificate);

// What goes along with one certificate as its status (RFC 6066 §8, RFC 8446 §4.4.2.1).
struct StapleSpec {
  Fingerprint certificate{};
  std::vector<uint8_t> response{};  // DER OCSPResponse, verified; empty: there is none
  int64_t ends_s = 0;               // Unix time: not sent from then on, whether anybody takes it back or not
  bool required = false;            // a client that asks gets an alert rather than no status
};

// The OCSP responses of all certificates.
//
// Thread: immutable; all TLS threads share one, and each has the next one with its next command.
class Staples final {
 public:
  static std::shared_ptr<const Staples> Create(std::vector<StapleSpec> specs);

  enum class Found : uint8_t { kNone, kMissing, kGood };
  struct Answer {
    Found found = Found::kNone;  // kMissing: there is none, and without it the handshake must fail
    const std::vector<uint8_t>* response = nullptr;  // of kGood; borrowed
  };
  [[nodiscard]] Answer Find(const Fingerprint& certificate, int64_t now_s) const;

 private:
  Staples() = default;
  std::map<Fingerprint, StapleSpec> by_certificate_;
};

}  // namespace sealgate
