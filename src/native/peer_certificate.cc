// SPDX-License-Identifier: Apache-2.0
#include "peer_certificate.h"

#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <span>
#include <string_view>

namespace sealgate {

namespace {

using BignumPtr = std::unique_ptr<BIGNUM, Deleter<BN_free>>;
using GeneralNamesPtr = std::unique_ptr<GENERAL_NAMES, Deleter<GENERAL_NAMES_free>>;

// Log lines and headers have an end; a subject has none.
constexpr size_t kSubjectLimit = 512;
constexpr size_t kCommonNameLimit = 256;  // ub-common-name is 64 characters (RFC 5280), of 4 bytes at most
constexpr size_t kEndsSize = 8;
constexpr size_t kLengthSize = 4;

std::string Hex(std::span<const uint8_t> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

bool IsGraphic(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

std::string_view View(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<size_t>(ASN1_STRING_length(text))};
}

std::string AddressText(const ASN1_OCTET_STRING* address) {
  // OpenSSL's own form: "IP Address:10.0.0.1" is for people, this is the address alone.
  const auto bytes = View(address);
  std::string text;
  if (bytes.size() == 4) {
    for (const char byte : bytes) {
      if (!text.empty()) text += '.';
      text += std::to_string(static_cast<uint8_t>(byte));
    }
  } else if (bytes.size() == 16) {
    for (size_t i = 0; i < 16; i += 2) {
      const uint8_t pair[] = {static_cast<uint8_t>(bytes[i]), static_cast<uint8_t>(bytes[i + 1])};
      if (i > 0) text += ':';
      text += Hex(pair);
    }
  }
  return text;
}

// Of several it could be either, and readers would not agree which; control characters are a trap for logs.
std::string CommonName(X509* certificate) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) return {};
  unsigned char* text = nullptr;
  const int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) return {};
  const std::string name(reinterpret_cast<const char*>(text), static_cast<size_t>(size));
  OPENSSL_free(text);
  const bool plain =
      std::all_of(name.begin(), name.end(), [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
  return plain && name.size() <= kCommonNameLimit ? name : std::string();
}

GeneralNamesPtr GeneralNamesOf(X509* certificate) {
  return GeneralNamesPtr(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
}

void PutNumber(std::vector<uint8_t>& out, uint64_t number, size_t size) {
  for (size_t i = size; i > 0; --i) out.push_back(static_cast<uint8_t>(number >> (8 * (i - 1))));
}

uint64_t TakeNumber(std::span<const uint8_t>& in, size_t size) {
  uint64_t number = 0;
  for (const uint8_t byte : in.first(size)) number = number << 8 | byte;
  in = in.subspan(size);
  return number;
}

}  // namespace

std::shared_ptr<const PeerCertificate> PeerCertificateOf(SSL* ssl, bool with_chain) {
  X509* leaf = SSL_get0_peer_certificate(ssl);  // borrowed
  if (leaf == nullptr || SSL_get_verify_result(ssl) != X509_V_OK) return nullptr;
  const ErrorQueueScope errors;
  auto made = std::make_shared<PeerCertificate>();
  made->certificate = ToDer(leaf);
  if (with_chain) {
    made->chain = SSL_session_reused(ssl) == 1 ? UnpackTicketIdentity(SSL_get_session(ssl)).chain
                                               : VerifiedIssuers(ssl);
  }
  made->subject = SubjectText(leaf);
  made->common_name = CommonName(leaf);
  made->subject_alt_names = SubjectAltNames(leaf);
  made->serial = SerialText(leaf);
  uint8_t digest[SHA256_DIGEST_LENGTH];
  SHA256(made->certificate.data(), made->certificate.size(), digest);
  made->fingerprint = Hex(digest);
  return made;
}

std::vector<std::string> SubjectAltNames(X509* certificate) {
  std::vector<std::string> found;
  const GeneralNamesPtr names = GeneralNamesOf(certificate);
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    std::string text;
    const char* kind = nullptr;
    switch (name->type) {
      case GEN_DNS:
        kind = "DNS:";
        text = View(name->d.dNSName);
        break;
      case GEN_URI:
        kind = "URI:";
        text = View(name->d.uniformResourceIdentifier);
        break;
      case GEN_EMAIL:
        kind = "email:";
        text = View(name->d.rfc822Name);
        break;
      case GEN_IPADD:
        kind = "IP:";
        text = AddressText(name->d.iPAddress);
        break;
      default:
        continue;
    }
    if (IsGraphic(text)) found.push_back(kind + text);
  }
  return found;
}

size_t CountUris(X509* certificate) {
  const GeneralNamesPtr names = GeneralNamesOf(certificate);
  size_t count = 0;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i)
    count += sk_GENERAL_NAME_value(names.get(), i)->type == GEN_URI ? 1 : 0;
  return count;
}

std::string SubjectText(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr ||
      X509_NAME_print_ex(bio.get(), X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) < 0) {
    return {};
  }
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  if (size <= 0) return {};
  return {text, std::min(static_cast<size_t>(size), kSubjectLimit)};
}

std::string SerialText(X509* certificate) {
  const BignumPtr number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  char* text = number == nullptr ? nullptr : BN_bn2hex(number.get());
  if (text == nullptr) return {};
  std::string serial(text);
  OPENSSL_free(text);
  return serial;
}

std::vector<std::vector<uint8_t>> VerifiedIssuers(SSL* ssl) {
  std::vector<std::vector<uint8_t>> issuers;
  const STACK_OF(X509)* chain = SSL_get0_verified_chain(ssl);  // borrowed; leaf first, anchor last
  for (int i = 1; i < sk_X509_num(chain) - 1; ++i) issuers.push_back(ToDer(sk_X509_value(chain, i)));
  return issuers;
}

std::vector<uint8_t> ToDer(X509* certificate) {
  const int size = i2d_X509(certificate, nullptr);
  if (size <= 0) return {};
  std::vector<uint8_t> der(static_cast<size_t>(size));
  unsigned char* cursor = der.data();
  i2d_X509(certificate, &cursor);
  return der;
}

std::vector<uint8_t> Pack(const TicketIdentity& identity) {
  std::vector<uint8_t> packed;
  PutNumber(packed, static_cast<uint64_t>(identity.ends), kEndsSize);
  for (const auto& der : identity.chain) {
    PutNumber(packed, der.size(), kLengthSize);
    packed.insert(packed.end(), der.begin(), der.end());
  }
  return packed;
}

TicketIdentity UnpackTicketIdentity(SSL_SESSION* session) {
  void* data = nullptr;
  size_t size = 0;
  if (SSL_SESSION_get0_ticket_appdata(session, &data, &size) != 1 || size < kEndsSize) return {};
  std::span<const uint8_t> rest(static_cast<const uint8_t*>(data), size);
  TicketIdentity identity{.ends = static_cast<int64_t>(TakeNumber(rest, kEndsSize)), .chain = {}};
  while (rest.size() >= kLengthSize) {
    const size_t length = TakeNumber(rest, kLengthSize);
    if (length > rest.size()) return {};
    identity.chain.emplace_back(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(length));
    rest = rest.subspan(length);
  }
  return identity;
}

}  // namespace sealgate
