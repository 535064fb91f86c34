// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/ocsp.h>

#include <optional>

#include "support/authority.h"

namespace sealgate::test {

struct OcspAnswer {
  int status = V_OCSP_CERTSTATUS_GOOD;
  int revoked_reason = OCSP_REVOKED_STATUS_KEYCOMPROMISE;
  long this_update_s = -60;  // from now, as all times
  std::optional<long> next_update_s = 3600;
  const EVP_MD* id_hash = EVP_sha1();
  const Identity* delegate = nullptr;  // signs instead of the issuer; its certificate comes along
};

// A whole OCSPResponse about the certificate, as its issuer or a delegate of it signs one.
[[nodiscard]] Bytes Answer(const Authority& issuer, X509* certificate, const OcspAnswer& answer = {});
// An OCSPResponse that is nothing but an error, e.g. OCSP_RESPONSE_STATUS_TRYLATER.
[[nodiscard]] Bytes ErrorAnswer(int status);

}  // namespace sealgate::test
