// SPDX-License-Identifier: Apache-2.0
// An OpenSSL provider whose keys have a public half only.
//
// It is registered in a private OSSL_LIB_CTX beside "default". An EVP_PKEY made here satisfies SSL_CTX_use_
// PrivateKey, and when the handshake needs it, digest_sign hands the unhashed message to the connection's
// SignOperation, which suspends the handshake (ASYNC_pause_job) until somebody brings the signature.
#pragma once

#include <cstdint>
#include <memory>

#include "openssl_ptr.h"

namespace sealgate {

// The private library context with both providers loaded. Shared by everything in the process that has an
// SSL_CTX of ours; any thread may use it.
class CryptoLibrary final {
 public:
  // Null when OpenSSL refuses; the error queue says why.
  [[nodiscard]] static std::unique_ptr<CryptoLibrary> Create();

  [[nodiscard]] OSSL_LIB_CTX* libctx() const { return libctx_.get(); }
  // Ticket encryption is fetched once: OpenSSL 3.0's fetch by name takes locks.
  [[nodiscard]] const EVP_CIPHER* ticket_cipher() const { return ticket_cipher_.get(); }

  // A key whose private half is elsewhere. key_id comes back in the sign request. The public half is copied.
  [[nodiscard]] EvpPkeyPtr MakeKey(EVP_PKEY* public_key, uint32_t key_id) const;

 private:
  CryptoLibrary() = default;

  LibCtxPtr libctx_;
  ProviderPtr default_provider_;
  ProviderPtr own_provider_;
  EvpCipherPtr ticket_cipher_;
};

}  // namespace sealgate
