// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "openssl_ptr.h"

namespace sealgate::test {

enum class KeyKind : uint8_t { kRsa2048, kP256, kP384, kP521, kEd25519 };

// A private key in software, generated when a test asks first, and a self-signed certificate for it. Lives
// until the process ends: a key of one kind serves all tests.
struct KeyPair {
  EvpPkeyPtr key;
  std::vector<uint8_t> certificate;  // DER
};

[[nodiscard]] const KeyPair& KeyPairOf(KeyKind kind);
// What the certificates of a kind are offered with: OpenSSL's names, colon-separated.
[[nodiscard]] std::string SchemesOf(KeyKind kind);

// Signs as an HSM would: the unhashed message, the wire form of the signature.
[[nodiscard]] std::vector<uint8_t> SignInSoftware(EVP_PKEY* key, uint16_t scheme,
                                                  const std::vector<uint8_t>& message);

}  // namespace sealgate::test
