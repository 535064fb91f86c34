// SPDX-License-Identifier: Apache-2.0
#include "load_context.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <utility>

namespace sealgate {

namespace {

// More than any server has; one that makes a new certificate for every handshake must not fill the memory.
constexpr size_t kMaxVerified = 16;

// ProtocolNameList of RFC 7301 §3.1 without its own length.
std::vector<uint8_t> ToWire(const std::vector<std::string>& alpn) {
  std::vector<uint8_t> wire;
  for (const std::string& protocol : alpn) {
    wire.push_back(static_cast<uint8_t>(protocol.size()));
    wire.insert(wire.end(), protocol.begin(), protocol.end());
  }
  return wire;
}

}  // namespace

LoadContext::Created LoadContext::Create(const LoadOffer& offer) {
  const ErrorQueueScope errors;
  std::unique_ptr<LoadContext> context(new LoadContext());
  if (!context->Fill(offer)) return FailureWithQueue("the load generator's TLS context");
  return context;
}

bool LoadContext::Fill(const LoadOffer& offer) {
  server_name_ = offer.server_name;
  context_.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* context = context_.get();
  if (context == nullptr) return false;
  SSL_CTX_set_app_data(context, this);
  if (SSL_CTX_set_min_proto_version(context, offer.version) != 1) return false;
  if (SSL_CTX_set_max_proto_version(context, offer.version) != 1) return false;
  const std::vector<uint8_t> alpn = ToWire(offer.alpn);
  // 0 is success here, and here only.
  if (!alpn.empty() && SSL_CTX_set_alpn_protos(context, alpn.data(), static_cast<unsigned>(alpn.size())) != 0)
    return false;
  // Otherwise each of the server's six records costs two reads.
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, &LoadContext::OnTicket);
  if (!offer.verify) return true;
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(
      context,
      [](X509_STORE_CTX* chain, void* self) {
        return static_cast<LoadContext*>(self)->Verify(chain) ? 1 : 0;
      },
      this);
  return Trust(offer.authorities) && Expect(offer.expected_name);
}

bool LoadContext::Trust(const std::string& authorities) {
  X509_STORE* store = SSL_CTX_get_cert_store(context_.get());
  const BioPtr pem(BIO_new_mem_buf(authorities.data(), static_cast<int>(authorities.size())));
  if (pem == nullptr) return false;
  while (const X509Ptr certificate{PEM_read_bio_X509(pem.get(), nullptr, nullptr, nullptr)}) {
    if (X509_STORE_add_cert(store, certificate.get()) != 1) return false;
  }
  // How PEM says that there is no other one.
  const bool ended = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (ended) ERR_clear_error();
  return ended;
}

bool LoadContext::Expect(const std::string& name) {
  X509_VERIFY_PARAM* expected = SSL_CTX_get0_param(context_.get());
  X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (X509_VERIFY_PARAM_set1_ip_asc(expected, name.c_str()) == 1) return true;
  ERR_clear_error();  // it is no address, then
  return X509_VERIFY_PARAM_set1_host(expected, name.data(), name.size()) == 1;
}

bool LoadContext::Verify(X509_STORE_CTX* chain) {
  const X509* leaf = X509_STORE_CTX_get0_cert(chain);
  unsigned char* encoded = nullptr;
  const int size = i2d_X509(leaf, &encoded);
  if (size <= 0) return false;
  std::vector<uint8_t> der(encoded, encoded + size);
  OPENSSL_free(encoded);
  if (std::ranges::find(verified_, der) != verified_.end()) return true;
  if (X509_verify_cert(chain) != 1) return false;
  if (verified_.size() == kMaxVerified) verified_.erase(verified_.begin());
  verified_.push_back(std::move(der));
  return true;
}

SslPtr LoadContext::NewConnection(bool resume) const {
  SslPtr ssl(SSL_new(context_.get()));
  if (ssl == nullptr) return nullptr;
  if (!server_name_.empty() && SSL_set_tlsext_host_name(ssl.get(), server_name_.c_str()) != 1) return nullptr;
  if (resume && ticket_ != nullptr) {
    const SslSessionPtr copy(SSL_SESSION_dup(ticket_.get()));
    if (copy == nullptr || SSL_set_session(ssl.get(), copy.get()) != 1) return nullptr;
  }
  SSL_set_connect_state(ssl.get());
  return ssl;
}

// A copy is kept: OpenSSL marks a session as not to be resumed when its connection ends badly.
int LoadContext::OnTicket(SSL* ssl, SSL_SESSION* session) {
  auto* self = static_cast<LoadContext*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  if (SSL_SESSION_is_resumable(session) == 1) self->ticket_.reset(SSL_SESSION_dup(session));
  return 0;  // its reference stays OpenSSL's
}

}  // namespace sealgate
