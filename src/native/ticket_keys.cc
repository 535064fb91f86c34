// SPDX-License-Identifier: Apache-2.0
#include "ticket_keys.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <algorithm>

namespace sealgate {

namespace {

constexpr size_t kNameSize = 16;
constexpr size_t kMacOffset = kNameSize;
constexpr size_t kMacSize = 32;
constexpr size_t kCipherOffset = kMacOffset + kMacSize;

bool InitMac(EVP_MAC_CTX* mac, const std::vector<uint8_t>& key) {
  // OSSL_PARAM has no const variant; EVP_MAC only reads.
  auto* mac_key = const_cast<uint8_t*>(key.data() + kMacOffset);
  char digest[] = "SHA256";
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, mac_key, kMacSize),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_end(),
  };
  return EVP_MAC_CTX_set_params(mac, params) == 1;
}

}  // namespace

std::shared_ptr<const TicketKeys> TicketKeys::Create(const EVP_CIPHER* cipher,
                                                     std::vector<std::vector<uint8_t>> keys) {
  return std::shared_ptr<const TicketKeys>(new TicketKeys(cipher, std::move(keys)));
}

TicketKeys::~TicketKeys() {
  for (auto& key : keys_) OPENSSL_cleanse(key.data(), key.size());
}

int TicketKeys::Encrypt(std::span<uint8_t, 16> name, std::span<uint8_t, 16> iv, EVP_CIPHER_CTX* cipher,
                        EVP_MAC_CTX* mac) const {
  if (keys_.empty()) return 0;
  const auto& key = keys_.front();
  if (RAND_bytes(iv.data(), static_cast<int>(iv.size())) != 1) return -1;
  if (EVP_EncryptInit_ex(cipher, cipher_, nullptr, key.data() + kCipherOffset, iv.data()) != 1) return -1;
  if (!InitMac(mac, key)) return -1;
  std::copy_n(key.begin(), kNameSize, name.begin());
  return 1;
}

int TicketKeys::Decrypt(std::span<const uint8_t, 16> name, const uint8_t* iv, EVP_CIPHER_CTX* cipher,
                        EVP_MAC_CTX* mac) const {
  for (size_t i = 0; i < keys_.size(); ++i) {
    const auto& key = keys_[i];
    // The name is public: it is on the wire.
    if (!std::equal(name.begin(), name.end(), key.begin())) continue;
    if (EVP_DecryptInit_ex(cipher, cipher_, nullptr, key.data() + kCipherOffset, iv) != 1) return -1;
    if (!InitMac(mac, key)) return -1;
    return i == 0 ? 1 : 2;
  }
  return 0;
}

}  // namespace sealgate
