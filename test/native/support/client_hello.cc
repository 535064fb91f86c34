// SPDX-License-Identifier: Apache-2.0
#include "support/client_hello.h"

#include <openssl/ssl.h>

#include "openssl_ptr.h"

namespace sealgate::test {

std::string ClientHello() {
  const SslCtxPtr ctx(SSL_CTX_new(TLS_client_method()));
  const SslPtr ssl(SSL_new(ctx.get()));
  BIO* out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), out);  // owns both
  SSL_set_tlsext_host_name(ssl.get(), "one.example");
  SSL_connect(ssl.get());
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(out, &bytes);
  return {bytes, static_cast<size_t>(size)};
}

}  // namespace sealgate::test
