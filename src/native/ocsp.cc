// SPDX-License-Identifier: Apache-2.0
#include "ocsp.h"

#include <openssl/tls1.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <ctime>

namespace sealgate {

namespace {

using ResponsePtr = std::unique_ptr<OCSP_RESPONSE, Deleter<OCSP_RESPONSE_free>>;
using BasicResponsePtr = std::unique_ptr<OCSP_BASICRESP, Deleter<OCSP_BASICRESP_free>>;
using RequestPtr = std::unique_ptr<OCSP_REQUEST, Deleter<OCSP_REQUEST_free>>;
using CertIdPtr = std::unique_ptr<OCSP_CERTID, Deleter<OCSP_CERTID_free>>;
using TlsFeaturePtr = std::unique_ptr<TLS_FEATURE, Deleter<TLS_FEATURE_free>>;

int64_t ToSeconds(const ASN1_TIME* time) {
  std::tm broken{};
  return time != nullptr && ASN1_TIME_to_tm(time, &broken) == 1 ? int64_t{timegm(&broken)} : 0;
}

X509Ptr Parse(const std::vector<uint8_t>& der) {
  const unsigned char* cursor = der.data();
  return X509Ptr(d2i_X509(nullptr, &cursor, static_cast<long>(der.size())));
}

// Null when it is no response, or more than one.
ResponsePtr ParseResponse(const std::vector<uint8_t>& der) {
  const unsigned char* cursor = der.data();
  ResponsePtr response(d2i_OCSP_RESPONSE(nullptr, &cursor, static_cast<long>(der.size())));
  return cursor == der.data() + der.size() ? std::move(response) : nullptr;
}

// RFC 6960 §4.2.1, OCSPResponseStatus.
const char* ResponseStatus(int status) {
  switch (status) {
    case OCSP_RESPONSE_STATUS_MALFORMEDREQUEST:
      return "malformed-request";
    case OCSP_RESPONSE_STATUS_INTERNALERROR:
      return "internal-error";
    case OCSP_RESPONSE_STATUS_TRYLATER:
      return "try-later";
    case OCSP_RESPONSE_STATUS_SIGREQUIRED:
      return "signature-required";
    case OCSP_RESPONSE_STATUS_UNAUTHORIZED:
      return "unauthorized";
    default:
      return "malformed";
  }
}

OcspRefusal Refusal(const char* reason, std::string detail) {
  for (const std::string& error : TakeOpensslErrors()) detail += "; " + error;
  return {reason, std::move(detail)};
}

// The hashes that a CertID may be made with; others need not be tried.
const EVP_MD* CertIdHash(const ASN1_OBJECT* algorithm) {
  constexpr std::array kKnown{NID_sha1, NID_sha256, NID_sha384, NID_sha512};
  const int nid = OBJ_obj2nid(algorithm);
  return std::find(kKnown.begin(), kKnown.end(), nid) == kKnown.end() ? nullptr : EVP_get_digestbynid(nid);
}

}  // namespace

OcspSubject::Created OcspSubject::Create(const Bytes& leaf, const std::optional<Bytes>& issuer) {
  const ErrorQueueScope errors;
  std::unique_ptr<OcspSubject> made(new OcspSubject());
  made->leaf_ = Parse(leaf);
  if (made->leaf_ == nullptr) return FailureWithQueue("OpenSSL cannot read the certificate");
  made->fingerprint_ = FingerprintOf(made->leaf_.get());
  if (!issuer) return made;
  made->issuer_ = Parse(*issuer);
  if (made->issuer_ == nullptr) return FailureWithQueue("OpenSSL cannot read the issuer's certificate");
  if (!made->MakeRequest()) return FailureWithQueue("OpenSSL makes no OCSP request for the certificate");
  return made;
}

bool OcspSubject::MakeRequest() {
  anchor_.reset(X509_STORE_new());
  issuers_.reset(sk_X509_new_null());
  if (anchor_ == nullptr || issuers_ == nullptr) return false;
  // The issuer is most often an intermediate: trust ends with it, not with a self-signed root.
  X509_STORE_set_flags(anchor_.get(), X509_V_FLAG_PARTIAL_CHAIN);
  if (X509_STORE_add_cert(anchor_.get(), issuer_.get()) != 1) return false;  // up_ref
  if (sk_X509_push(issuers_.get(), issuer_.get()) == 0) return false;
  X509_up_ref(issuer_.get());

  const RequestPtr request(OCSP_REQUEST_new());
  // SHA-1 names the certificate and protects nothing; it is what every responder knows (RFC 5019 §2.1.1).
  CertIdPtr id(OCSP_cert_to_id(EVP_sha1(), leaf_.get(), issuer_.get()));
  if (request == nullptr || id == nullptr) return false;
  if (OCSP_request_add0_id(request.get(), id.get()) == nullptr) return false;
  id.release();  // NOLINT(bugprone-unused-return-value): the request owns it
  const int size = i2d_OCSP_REQUEST(request.get(), nullptr);
  if (size <= 0) return false;
  request_.resize(static_cast<size_t>(size));
  unsigned char* cursor = request_.data();
  return i2d_OCSP_REQUEST(request.get(), &cursor) == size;
}

std::vector<std::string> OcspSubject::Responders() const {
  std::vector<std::string> urls;
  STACK_OF(OPENSSL_STRING)* found = X509_get1_ocsp(leaf_.get());
  urls.reserve(static_cast<size_t>(std::max(0, sk_OPENSSL_STRING_num(found))));
  for (int i = 0; i < sk_OPENSSL_STRING_num(found); ++i) urls.emplace_back(sk_OPENSSL_STRING_value(found, i));
  X509_email_free(found);
  return urls;
}

bool OcspSubject::MustStaple() const {
  const ErrorQueueScope errors;
  const TlsFeaturePtr features(
      static_cast<TLS_FEATURE*>(X509_get_ext_d2i(leaf_.get(), NID_tlsfeature, nullptr, nullptr)));
  for (int i = 0; i < sk_ASN1_INTEGER_num(features.get()); ++i) {
    if (ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features.get(), i)) == TLSEXT_TYPE_status_request) return true;
  }
  return false;
}

std::variant<OcspStatus, OcspRefusal> OcspSubject::Read(const Bytes& der) const {
  const ErrorQueueScope errors;
  if (issuer_ == nullptr) return Refusal("no-issuer", "the issuer of the certificate is not known");
  const ResponsePtr response = ParseResponse(der);
  if (response == nullptr) return Refusal("malformed", "it is no OCSP response, or is cut off");
  const int outcome = OCSP_response_status(response.get());
  if (outcome != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
    const std::string word = OCSP_response_status_str(outcome);
    return Refusal(ResponseStatus(outcome), "the responder answers " + word);
  }
  const BasicResponsePtr basic(OCSP_response_get1_basic(response.get()));
  if (basic == nullptr) return Refusal("malformed", "it is no basic OCSP response");
  OCSP_SINGLERESP* ours = FindOurs(basic.get());
  if (ours == nullptr) return Refusal("other-certificate", "it says nothing about this certificate");
  // NOEXPLICIT: only the issuer counts, never a root that is trusted for OCSP in general.
  if (OCSP_basic_verify(basic.get(), issuers_.get(), anchor_.get(), OCSP_NOEXPLICIT) != 1) {
    return Refusal("signature", "it is not signed by the issuer or by a responder that the issuer names");
  }

  OcspStatus status;
  int reason = OCSP_REVOKED_STATUS_NOSTATUS;
  ASN1_GENERALIZEDTIME *revoked = nullptr, *this_update = nullptr, *next_update = nullptr;  // borrowed
  const int found = OCSP_single_get0_status(ours, &reason, &revoked, &this_update, &next_update);
  status.status = found == V_OCSP_CERTSTATUS_GOOD      ? "good"
                  : found == V_OCSP_CERTSTATUS_REVOKED ? "revoked"
                                                       : "unknown";
  status.this_update_s = ToSeconds(this_update);
  status.next_update_s = ToSeconds(next_update);
  status.revoked_s = ToSeconds(revoked);
  if (status.this_update_s == 0 || (next_update != nullptr && status.next_update_s == 0))
    return Refusal("malformed", "its times cannot be read");
  if (reason != OCSP_REVOKED_STATUS_NOSTATUS) status.revoked_reason = OCSP_crl_reason_str(reason);
  X509* signer = nullptr;  // borrowed
  if (OCSP_resp_get0_signer(basic.get(), &signer, issuers_.get()) == 1)
    status.signer_ends_s = ToSeconds(X509_get0_notAfter(signer));
  return status;
}

// A responder may have hashed the names with another digest than was asked for.
OCSP_SINGLERESP* OcspSubject::FindOurs(OCSP_BASICRESP* basic) const {
  for (int i = 0; i < OCSP_resp_count(basic); ++i) {
    OCSP_SINGLERESP* single = OCSP_resp_get0(basic, i);
    const OCSP_CERTID* theirs = OCSP_SINGLERESP_get0_id(single);
    ASN1_OBJECT* algorithm = nullptr;
    // OpenSSL lacks the const; it only reads.
    OCSP_id_get0_info(nullptr, &algorithm, nullptr, nullptr, const_cast<OCSP_CERTID*>(theirs));
    const EVP_MD* hash = CertIdHash(algorithm);
    if (hash == nullptr) continue;
    const CertIdPtr ours(OCSP_cert_to_id(hash, leaf_.get(), issuer_.get()));
    if (ours != nullptr && OCSP_id_cmp(ours.get(), theirs) == 0) return single;
  }
  return nullptr;
}

}  // namespace sealgate
