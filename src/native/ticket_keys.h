// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "openssl_ptr.h"

namespace sealgate {

// The keys that encrypt session tickets (RFC 5077 §4, AES-256-CBC and HMAC-SHA256): the first one makes new
// tickets, all of them open old ones.
//
// Owns:   the key bytes; cleansed on destruction.
// Thread: immutable; all TLS threads share one, so a ticket of one thread resumes on another.
class TicketKeys final {
 public:
  static constexpr size_t kKeySize = 80;  // name 16, HMAC key 32, AES key 32

  // Every element of keys has kKeySize bytes.
  static std::shared_ptr<const TicketKeys> Create(const EVP_CIPHER* cipher,
                                                  std::vector<std::vector<uint8_t>> keys);
  ~TicketKeys();
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  // The body of SSL_CTX_set_tlsext_ticket_key_evp_cb: 1 = use, 2 = use and issue a new ticket, 0 = no such
  // key, -1 = failed.
  int Encrypt(std::span<uint8_t, 16> name, std::span<uint8_t, 16> iv, EVP_CIPHER_CTX* cipher,
              EVP_MAC_CTX* mac) const;
  int Decrypt(std::span<const uint8_t, 16> name, const uint8_t* iv, EVP_CIPHER_CTX* cipher,
              EVP_MAC_CTX* mac) const;

 private:
  TicketKeys(const EVP_CIPHER* cipher, std::vector<std::vector<uint8_t>> keys)
      : cipher_(cipher), keys_(std::move(keys)) {}

  const EVP_CIPHER* cipher_;  // borrowed from CryptoLibrary
  std::vector<std::vector<uint8_t>> keys_;
};

}  // namespace sealgate
