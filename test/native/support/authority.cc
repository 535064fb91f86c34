// SPDX-License-Identifier: Apache-2.0
#include "support/authority.h"

#include <openssl/x509v3.h>

#include <atomic>
#include <stdexcept>

#include "peer_certificate.h"

namespace sealgate::test {

namespace {

EvpPkeyPtr NewKey(KeyKind kind) {
  switch (kind) {
    case KeyKind::kRsa2048:
      return EvpPkeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", size_t{2048}));
    case KeyKind::kEd25519:
      return EvpPkeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
    case KeyKind::kP384:
      return EvpPkeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-384"));
    default:
      return EvpPkeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
  }
}

void AddExtension(X509* certificate, int nid, const std::string& value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
  if (extension == nullptr) throw std::runtime_error("extension " + value);
  X509_add_ext(certificate, extension, -1);  // copies
  X509_EXTENSION_free(extension);
}

long NextSerial() {
  static std::atomic<long> serial{0x1000};
  return ++serial;
}

}  // namespace

Authority::Authority(const std::string& name, Authority* issuer)
    : issuer_(issuer), key_(NewKey(KeyKind::kP256)), certificate_(Make(name, key_.get())) {
  X509_gmtime_adj(X509_getm_notBefore(certificate_.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate_.get()), 864'000);
  X509_set_issuer_name(
      certificate_.get(),
      X509_get_subject_name(issuer == nullptr ? certificate_.get() : issuer->certificate_.get()));
  AddExtension(certificate_.get(), NID_basic_constraints, "critical,CA:TRUE");
  AddExtension(certificate_.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  (issuer == nullptr ? this : issuer)->Sign(certificate_.get());
}

Bytes Authority::der() const { return ToDer(certificate_.get()); }

Identity Authority::Issue(const Request& request) {
  Identity identity{.key = NewKey(request.kind), .certificate = nullptr, .chain = {}};
  identity.certificate = Make(request.subject, identity.key.get());
  X509* certificate = identity.certificate.get();
  X509_gmtime_adj(X509_getm_notBefore(certificate), request.not_before_s);
  X509_gmtime_adj(X509_getm_notAfter(certificate), request.not_after_s);
  X509_set_issuer_name(certificate, X509_get_subject_name(certificate_.get()));
  if (!request.names.empty()) AddExtension(certificate, NID_subject_alt_name, request.names);
  if (!request.usage.empty()) AddExtension(certificate, NID_ext_key_usage, request.usage);
  if (!request.responder.empty()) AddExtension(certificate, NID_info_access, "OCSP;URI:" + request.responder);
  if (request.must_staple) AddExtension(certificate, NID_tlsfeature, "status_request");
  Sign(certificate);
  if (issuer_ != nullptr) identity.chain.push_back(der());
  return identity;
}

Bytes Authority::Revoke(const std::vector<const Identity*>& revoked, long not_after_s) {
  const X509CrlPtr list(X509_CRL_new());
  X509_CRL_set_version(list.get(), X509_CRL_VERSION_2);
  X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(certificate_.get()));
  ASN1_TIME* time = X509_gmtime_adj(nullptr, -3600);
  X509_CRL_set1_lastUpdate(list.get(), time);
  X509_gmtime_adj(time, not_after_s);
  X509_CRL_set1_nextUpdate(list.get(), time);
  X509_gmtime_adj(time, -1800);
  for (const Identity* identity : revoked) {
    X509_REVOKED* entry = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(identity->certificate.get()));
    X509_REVOKED_set_revocationDate(entry, time);
    X509_CRL_add0_revoked(list.get(), entry);
  }
  ASN1_TIME_free(time);
  X509_CRL_sort(list.get());
  if (X509_CRL_sign(list.get(), key_.get(), EVP_sha256()) == 0) throw std::runtime_error("X509_CRL_sign");
  Bytes der(static_cast<size_t>(i2d_X509_CRL(list.get(), nullptr)));
  unsigned char* cursor = der.data();
  i2d_X509_CRL(list.get(), &cursor);
  return der;
}

X509Ptr Authority::Make(const std::string& subject, EVP_PKEY* key) const {
  X509Ptr certificate(X509_new());
  X509* c = certificate.get();
  X509_set_version(c, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(c), NextSerial());
  X509_set_pubkey(c, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(subject.c_str()), -1, -1, 0);
  return certificate;
}

void Authority::Sign(X509* certificate) const {
  if (X509_sign(certificate, key_.get(), EVP_sha256()) == 0) throw std::runtime_error("X509_sign");
}

void Present(TlsClient& client, const Identity& identity) {
  if (SSL_use_certificate(client.ssl(), identity.certificate.get()) != 1 ||  // up_ref
      SSL_use_PrivateKey(client.ssl(), identity.key.get()) != 1) {           // up_ref
    throw std::runtime_error("client certificate");
  }
  for (const Bytes& der : identity.chain) {
    const unsigned char* cursor = der.data();
    const X509Ptr issuer(d2i_X509(nullptr, &cursor, static_cast<long>(der.size())));
    if (SSL_add1_chain_cert(client.ssl(), issuer.get()) != 1) throw std::runtime_error("client chain");
  }
}

}  // namespace sealgate::test
