// SPDX-License-Identifier: Apache-2.0
#include "support/key_pair.h"

#include <openssl/ec.h>
#include <openssl/rsa.h>

#include <array>
#include <map>
#include <mutex>
#include <stdexcept>

namespace sealgate::test {

namespace {

struct KindRow {
  const char* type;
  const char* curve;  // EC only
  std::string schemes;
};

const KindRow& RowOf(KeyKind kind) {
  static const std::map<KeyKind, KindRow> rows{
      {KeyKind::kRsa2048,
       {"RSA", nullptr,
        "rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:rsa_pkcs1_sha256:rsa_pkcs1_sha384:"
        "rsa_pkcs1_sha512"}},
      {KeyKind::kP256, {"EC", "P-256", "ecdsa_secp256r1_sha256:ECDSA+SHA224"}},
      {KeyKind::kP384, {"EC", "P-384", "ecdsa_secp384r1_sha384"}},
      {KeyKind::kP521, {"EC", "P-521", "ecdsa_secp521r1_sha512"}},
      {KeyKind::kEd25519, {"ED25519", nullptr, "ed25519"}},
  };
  return rows.at(kind);
}

EvpPkeyPtr Generate(KeyKind kind) {
  const KindRow& row = RowOf(kind);
  switch (kind) {
    case KeyKind::kRsa2048:
      return EvpPkeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, row.type, size_t{2048}));
    case KeyKind::kEd25519:
      return EvpPkeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, row.type));
    default:
      return EvpPkeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, row.type, row.curve));
  }
}

std::vector<uint8_t> SelfSigned(EVP_PKEY* key, bool hashes_itself) {
  const X509Ptr certificate(X509_new());
  X509* c = certificate.get();
  X509_set_version(c, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(c), 1);
  X509_gmtime_adj(X509_getm_notBefore(c), -3600);
  X509_gmtime_adj(X509_getm_notAfter(c), 86400);
  X509_set_pubkey(c, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("native test"), -1, -1, 0);
  X509_set_issuer_name(c, X509_get_subject_name(c));
  if (X509_sign(c, key, hashes_itself ? nullptr : EVP_sha256()) == 0) throw std::runtime_error("X509_sign");
  std::vector<uint8_t> der(static_cast<size_t>(i2d_X509(c, nullptr)));
  unsigned char* cursor = der.data();
  i2d_X509(c, &cursor);
  return der;
}

const EVP_MD* HashOf(uint16_t scheme) {
  switch (scheme) {
    case 0x0807:
      return nullptr;
    case 0x0804:
      return EVP_sha256();
    case 0x0805:
      return EVP_sha384();
    case 0x0806:
      return EVP_sha512();
    case 0x0303:
      return EVP_sha224();
    default:  // 0x04xx, 0x05xx, 0x06xx: the hash is the first byte (RFC 5246 §7.4.1.4.1)
      return scheme >> 8 == 4 ? EVP_sha256() : scheme >> 8 == 5 ? EVP_sha384() : EVP_sha512();
  }
}

}  // namespace

const KeyPair& KeyPairOf(KeyKind kind) {
  static std::mutex mutex;
  static std::map<KeyKind, KeyPair> pairs;
  const std::lock_guard lock(mutex);
  KeyPair& pair = pairs[kind];
  if (pair.key == nullptr) {
    pair.key = Generate(kind);
    pair.certificate = SelfSigned(pair.key.get(), kind == KeyKind::kEd25519);
  }
  return pair;
}

std::string SchemesOf(KeyKind kind) { return RowOf(kind).schemes; }

std::vector<uint8_t> SignInSoftware(EVP_PKEY* key, uint16_t scheme, const std::vector<uint8_t>& message) {
  const std::unique_ptr<EVP_MD_CTX, Deleter<EVP_MD_CTX_free>> ctx(EVP_MD_CTX_new());
  EVP_PKEY_CTX* parameters = nullptr;  // owned by ctx
  if (EVP_DigestSignInit(ctx.get(), &parameters, HashOf(scheme), nullptr, key) != 1) return {};
  const bool pss = scheme >= 0x0804 && scheme <= 0x0806;
  if (pss && (EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) != 1 ||
              EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) != 1)) {
    return {};
  }
  size_t size = 0;
  if (EVP_DigestSign(ctx.get(), nullptr, &size, message.data(), message.size()) != 1) return {};
  std::vector<uint8_t> signature(size);
  if (EVP_DigestSign(ctx.get(), signature.data(), &size, message.data(), message.size()) != 1) return {};
  signature.resize(size);
  return signature;
}

}  // namespace sealgate::test
