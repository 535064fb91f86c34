// SPDX-License-Identifier: Apache-2.0
#include "support/ocsp_answer.h"

#include <ctime>
#include <stdexcept>

namespace sealgate::test {

namespace {

using TimePtr = std::unique_ptr<ASN1_TIME, Deleter<ASN1_STRING_free>>;

TimePtr FromNow(long seconds) {
  // OCSP wants GeneralizedTime, of years before 2050 as well.
  return TimePtr(ASN1_GENERALIZEDTIME_adj(nullptr, std::time(nullptr), 0, seconds));
}

Bytes ToDer(OCSP_RESPONSE* response) {
  if (response == nullptr) throw std::runtime_error("OCSP_response_create");
  Bytes der(static_cast<size_t>(i2d_OCSP_RESPONSE(response, nullptr)));
  unsigned char* cursor = der.data();
  i2d_OCSP_RESPONSE(response, &cursor);
  OCSP_RESPONSE_free(response);
  return der;
}

}  // namespace

Bytes Answer(const Authority& issuer, X509* certificate, const OcspAnswer& answer) {
  const std::unique_ptr<OCSP_BASICRESP, Deleter<OCSP_BASICRESP_free>> basic(OCSP_BASICRESP_new());
  const std::unique_ptr<OCSP_CERTID, Deleter<OCSP_CERTID_free>> id(
      OCSP_cert_to_id(answer.id_hash, certificate, issuer.certificate()));
  const TimePtr this_update = FromNow(answer.this_update_s);
  const TimePtr next_update = answer.next_update_s ? FromNow(*answer.next_update_s) : nullptr;
  const TimePtr revoked = FromNow(-1800);
  if (OCSP_basic_add1_status(basic.get(), id.get(), answer.status, answer.revoked_reason, revoked.get(),
                             this_update.get(), next_update.get()) == nullptr) {
    throw std::runtime_error("OCSP_basic_add1_status");
  }
  const bool delegated = answer.delegate != nullptr;
  if (OCSP_basic_sign(basic.get(), delegated ? answer.delegate->certificate.get() : issuer.certificate(),
                      delegated ? answer.delegate->key.get() : issuer.key(), EVP_sha256(), nullptr,
                      delegated ? 0 : OCSP_NOCERTS) != 1) {
    throw std::runtime_error("OCSP_basic_sign");
  }
  return ToDer(OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic.get()));
}

Bytes ErrorAnswer(int status) { return ToDer(OCSP_response_create(status, nullptr)); }

}  // namespace sealgate::test
