// SPDX-License-Identifier: Apache-2.0
#include "contexts.h"

#include <openssl/tls1.h>

#include <algorithm>
#include <cctype>

namespace sealgate {

namespace {

HandshakeDelegate* DelegateOf(SSL* ssl) { return static_cast<HandshakeDelegate*>(SSL_get_app_data(ssl)); }

// The host_name of a server_name extension (RFC 6066 §3): list length, type 0, name length, name.
std::string_view HostName(const uint8_t* extension, size_t size) {
  constexpr size_t kHeader = 5;
  if (size < kHeader || extension[2] != TLSEXT_NAMETYPE_host_name) return {};
  const size_t length = static_cast<size_t>(extension[3]) << 8 | extension[4];
  if (length > size - kHeader) return {};
  return {reinterpret_cast<const char*>(extension + kHeader), length};
}

// Chooses the credentials. Runs before versions, suites and tickets are looked at, so all of them come from
// the chosen context.
int OnClientHello(SSL* ssl, int* /*alert*/, void* /*argument*/) {
  const uint8_t* extension = nullptr;
  size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &extension, &size) != 1)
    return SSL_CLIENT_HELLO_SUCCESS;
  SSL_CTX* found = DelegateOf(ssl)->contexts().Find(HostName(extension, size));
  if (found != nullptr) SSL_set_SSL_CTX(ssl, found);
  return SSL_CLIENT_HELLO_SUCCESS;
}

// Acknowledges the name, which also binds the session to it (RFC 6066 §3, last paragraph).
int OnServerName(SSL* /*ssl*/, int* /*alert*/, void* /*argument*/) { return SSL_TLSEXT_ERR_OK; }

int OnAlpn(SSL* ssl, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
           unsigned int in_size, void* /*argument*/) {
  const Bytes& ours = DelegateOf(ssl)->alpn_protocols();
  if (ours.empty()) return SSL_TLSEXT_ERR_NOACK;
  unsigned char* selected = nullptr;
  const int found = SSL_select_next_proto(&selected, out_size, ours.data(),
                                          static_cast<unsigned>(ours.size()), in, in_size);
  if (found != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;  // no_application_protocol, RFC 7301 §3.2
  *out = selected;
  return SSL_TLSEXT_ERR_OK;
}

int OnTicket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
             int encrypt) {
  const TicketKeys* keys = DelegateOf(ssl)->ticket_keys();
  if (keys == nullptr) return 0;
  if (encrypt == 1)
    return keys->Encrypt(std::span<uint8_t, 16>(name, 16), std::span<uint8_t, 16>(iv, 16), cipher, mac);
  const int use = keys->Decrypt(std::span<const uint8_t, 16>(name, 16), iv, cipher, mac);
  // A TLS 1.3 client uses a ticket once (RFC 8446 appendix C.4): without a new one its next visit would cost
  // a signature.
  return use == 1 && SSL_version(ssl) == TLS1_3_VERSION ? 2 : use;
}

SslCtxPtr NewContext(const CryptoLibrary& library, const PolicySpec& policy) {
  SslCtxPtr ctx(SSL_CTX_new_ex(library.libctx(), nullptr, TLS_server_method()));
  if (ctx == nullptr) return nullptr;
  SSL_CTX* c = ctx.get();
  SSL_CTX_set_options(c, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                             SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  // NO_AUTO_CHAIN: the chain is the one configured; building one from a store would cost every handshake.
  SSL_CTX_set_mode(c, SSL_MODE_ASYNC | SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                          SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_read_ahead(c, 1);
  // Resumption is by ticket only; there is no server-side cache to share or to fill.
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  static constexpr unsigned char kSessionIdContext[] = "sealgate";
  SSL_CTX_set_session_id_context(c, kSessionIdContext, sizeof kSessionIdContext - 1);
  SSL_CTX_set_timeout(c, static_cast<long>(policy.ticket_lifetime_s));
  SSL_CTX_set_num_tickets(c, policy.tickets);
  SSL_CTX_set_max_early_data(c, 0);
  SSL_CTX_set_tlsext_ticket_key_evp_cb(c, &OnTicket);
  SSL_CTX_set_client_hello_cb(c, &OnClientHello, nullptr);
  SSL_CTX_set_tlsext_servername_callback(c, &OnServerName);
  SSL_CTX_set_alpn_select_cb(c, &OnAlpn, nullptr);
  return ctx;
}

// Empty when all went well; else what OpenSSL did not like.
std::string ApplyPolicy(SSL_CTX* ctx, const PolicySpec& policy) {
  if (SSL_CTX_set_min_proto_version(ctx, policy.min_version) != 1) return "minimum version";
  if (SSL_CTX_set_cipher_list(ctx, policy.ciphers.c_str()) != 1) return "cipher list " + policy.ciphers;
  if (SSL_CTX_set_ciphersuites(ctx, policy.ciphersuites.c_str()) != 1)
    return "cipher suites " + policy.ciphersuites;
  if (SSL_CTX_set1_groups_list(ctx, policy.groups.c_str()) != 1) return "groups " + policy.groups;
  return {};
}

X509Ptr ParseCertificate(const CryptoLibrary& library, const Bytes& der) {
  X509* certificate = X509_new_ex(library.libctx(), nullptr);
  if (certificate == nullptr) return nullptr;
  const unsigned char* cursor = der.data();
  // On failure d2i_X509 frees the object and clears the pointer.
  if (d2i_X509(&certificate, &cursor, static_cast<long>(der.size())) == nullptr) return nullptr;
  return X509Ptr(certificate);
}

bool AddCertificate(SSL_CTX* ctx, const CryptoLibrary& library, const CertificateSpec& spec) {
  if (spec.chain.empty()) return false;
  const X509Ptr leaf = ParseCertificate(library, spec.chain.front());
  if (leaf == nullptr || SSL_CTX_use_certificate(ctx, leaf.get()) != 1)
    return false;  // up_ref: ctx has its own
  const EvpPkeyPtr key = library.MakeKey(X509_get0_pubkey(leaf.get()), spec.key_id);
  if (key == nullptr || SSL_CTX_use_PrivateKey(ctx, key.get()) != 1) return false;  // up_ref
  for (auto der = spec.chain.begin() + 1; der != spec.chain.end(); ++der) {
    const X509Ptr intermediate = ParseCertificate(library, *der);
    if (intermediate == nullptr || SSL_CTX_add1_chain_cert(ctx, intermediate.get()) != 1)
      return false;  // up_ref
  }
  return true;
}

std::string JoinNames(const std::vector<std::string>& names) {
  std::string joined;
  for (const auto& name : names) joined += (joined.empty() ? "" : ", ") + name;
  return joined;
}

}  // namespace

Contexts::Created Contexts::Create(const CryptoLibrary& library,
                                   const std::vector<CredentialsSpec>& credentials,
                                   const PolicySpec& policy) {
  const ErrorQueueScope errors;
  std::shared_ptr<Contexts> made(new Contexts());
  for (const CredentialsSpec& spec : credentials) {
    SslCtxPtr ctx = NewContext(library, policy);
    if (ctx == nullptr) return FailureWithQueue("OpenSSL has no TLS context for us");
    if (const std::string refused = ApplyPolicy(ctx.get(), policy); !refused.empty()) {
      return FailureWithQueue("OpenSSL refuses the " + refused);
    }
    for (const CertificateSpec& certificate : spec.certificates) {
      if (!AddCertificate(ctx.get(), library, certificate)) {
        return FailureWithQueue("OpenSSL refuses a certificate for " + JoinNames(spec.names));
      }
    }
    if (SSL_CTX_set1_sigalgs_list(ctx.get(), spec.signature_schemes.c_str()) != 1) {
      return FailureWithQueue("OpenSSL refuses the signature schemes " + spec.signature_schemes);
    }
    for (const std::string& name : spec.names) {
      // The first credentials that claim a name keep it.
      if (name.starts_with("*."))
        made->by_wildcard_.emplace(name.substr(1), ctx.get());
      else
        made->by_name_.emplace(name, ctx.get());
    }
    made->contexts_.push_back(std::move(ctx));
  }
  if (made->contexts_.empty()) return OpensslFailure{"no credentials were given", {}};
  return made;
}

SslPtr Contexts::NewSsl(HandshakeDelegate* delegate) const {
  SslPtr ssl(SSL_new(contexts_.front().get()));
  if (ssl == nullptr) return nullptr;
  SSL_set_app_data(ssl.get(), delegate);
  SSL_set_accept_state(ssl.get());
  return ssl;
}

SSL_CTX* Contexts::Find(std::string_view server_name) const {
  // A trailing dot is the same name (RFC 1034 §3.1); the extension should not carry one, some clients do.
  if (server_name.ends_with('.')) server_name.remove_suffix(1);
  if (server_name.empty()) return nullptr;
  std::string name(server_name);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  if (const auto exact = by_name_.find(name); exact != by_name_.end()) return exact->second;
  const size_t dot = name.find('.');
  if (dot == std::string::npos || dot == 0) return nullptr;
  const auto wildcard = by_wildcard_.find(name.substr(dot));
  return wildcard == by_wildcard_.end() ? nullptr : wildcard->second;
}

}  // namespace sealgate
