// SPDX-License-Identifier: Apache-2.0
// Long because a context is made in one place: each callback stands beside the setting that it belongs to.
#include "contexts.h"

#include <openssl/sha.h>
#include <openssl/tls1.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>

#include "client_authentication.h"

namespace sealgate {

namespace {

HandshakeDelegate* DelegateOf(SSL* ssl) { return static_cast<HandshakeDelegate*>(SSL_get_app_data(ssl)); }

// The host_name of a server_name extension (RFC 6066 §3): list length, type 0, name length, name.
std::string_view HostName(const uint8_t* extension, size_t size) {
  constexpr size_t kHeader = 5;
  if (size < kHeader || extension[2] != TLSEXT_NAMETYPE_host_name) return {};
  const size_t length = static_cast<size_t>(extension[3]) << 8 | extension[4];
  if (length > size - kHeader || length > TLSEXT_MAXLEN_host_name) return {};  // OpenSSL will refuse it
  return {reinterpret_cast<const char*>(extension + kHeader), length};
}

// A certificate of a context. OpenSSL's own pointer to it is the same in every SSL, also after a change of
// context.
struct Leaf {
  const X509* certificate;  // borrowed from the context
  Fingerprint fingerprint;
};

// What a context carries for the callbacks; dies with it.
struct ContextInfo {
  PolicySpec policy;
  std::vector<Leaf> leaves;
  std::vector<uint16_t> tls13_schemes;
  SessionBinding default_binding{};  // as the default: that of its first name
  int key_log_fd = -1;
};

void FreeInfo(void* /*parent*/, void* info, CRYPTO_EX_DATA* /*data*/, int /*index*/, long /*argl*/,
              void* /*argp*/) {
  delete static_cast<ContextInfo*>(info);  // OpenSSL is its owner: see SetInfo
}

int InfoIndex() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, &FreeInfo);
  return index;
}

// The context owns it from here on.
bool SetInfo(SSL_CTX* ctx, std::unique_ptr<ContextInfo> info) {
  if (SSL_CTX_set_ex_data(ctx, InfoIndex(), info.get()) != 1) return false;
  info.release();  // NOLINT(bugprone-unused-return-value): FreeInfo deletes it
  return true;
}

const ContextInfo& InfoOf(const SSL_CTX* ctx) {
  return *static_cast<const ContextInfo*>(SSL_CTX_get_ex_data(ctx, InfoIndex()));
}

// SSL_set_SSL_CTX takes over certificates, suites and signature schemes; versions, groups, tickets and
// options were copied when the SSL was made, and stay as they are.
bool UseContext(SSL* ssl, SSL_CTX* ctx) {
  SSL_CTX* const before = SSL_get_SSL_CTX(ssl);
  if (ctx == before) return true;
  const PolicySpec& old = InfoOf(before).policy;
  const PolicySpec& policy = InfoOf(ctx).policy;
  const bool same = policy == old;
  const bool same_groups = policy.groups == old.groups;
  if (SSL_set_SSL_CTX(ssl, ctx) == nullptr) return false;
  if (same) return true;
  if (SSL_set_min_proto_version(ssl, policy.min_version) != 1 ||
      SSL_set_max_proto_version(ssl, policy.max_version) != 1 ||
      SSL_set_num_tickets(ssl, policy.tickets) != 1) {
    return false;
  }
  if (policy.tickets == 0)
    SSL_set_options(ssl, SSL_OP_NO_TICKET);
  else
    SSL_clear_options(ssl, SSL_OP_NO_TICKET);
  return same_groups || SSL_set1_groups_list(ssl, policy.groups.c_str()) == 1;
}

// A list of 16-bit numbers with its length in front (RFC 8446 §4.2.3) has one of ours.
bool ListsAny(const uint8_t* extension, size_t size, const std::vector<uint16_t>& wanted) {
  constexpr size_t kLength = 2;
  for (size_t i = kLength; i + 1 < size; i += 2) {
    const auto one = static_cast<uint16_t>(extension[i] << 8 | extension[i + 1]);
    if (std::find(wanted.begin(), wanted.end(), one) != wanted.end()) return true;
  }
  return false;
}

// An RSA key whose HSM has no PSS can sign TLS 1.2 only. A client that can verify nothing else of these
// credentials would fail in TLS 1.3, therefore it is not offered to it.
bool CapVersion(SSL* ssl) {
  const std::vector<uint16_t>& able = InfoOf(SSL_get_SSL_CTX(ssl)).tls13_schemes;
  const uint8_t* extension = nullptr;
  size_t size = 0;
  if (able.empty() ||
      SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_signature_algorithms, &extension, &size) != 1 ||
      ListsAny(extension, size, able)) {
    return true;
  }
  return SSL_set_max_proto_version(ssl, TLS1_2_VERSION) == 1;
}

// Says where the session's tickets are good, and asks for a certificate where the listener wants one.
bool BindAndAsk(SSL* ssl, const SessionBinding& name) {
  HandshakeDelegate* delegate = DelegateOf(ssl);
  const SessionBinding binding = Both(name, delegate->session_binding());
  static_assert(SSL_MAX_SID_CTX_LENGTH == std::tuple_size_v<SessionBinding>);
  delegate->ChooseClientAuthentication();
  if (const ClientAuthentication* authentication = delegate->client_authentication())
    return authentication->Ask(ssl, binding);
  return SSL_set_session_id_context(ssl, binding.data(), static_cast<unsigned>(binding.size())) == 1;
}

// Chooses the credentials. Runs before versions, suites and tickets are looked at, so all of them come from
// the chosen context.
int OnClientHello(SSL* ssl, int* alert, void* /*argument*/) {
  HandshakeDelegate* delegate = DelegateOf(ssl);
  const uint8_t* extension = nullptr;
  size_t size = 0;
  std::string_view name;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &extension, &size) == 1)
    name = HostName(extension, size);
  delegate->OnServerName(name);
  const Contexts::Match match = delegate->contexts().Find(delegate->listener_id(), name);
  if (match.refused) {
    delegate->OnUnknownServerName();
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_CLIENT_HELLO_ERROR;
  }
  // The default was chosen when the SSL was made, with the first byte, and stays also after a reload.
  const bool chosen = match.served == nullptr || UseContext(ssl, match.served->context);
  if (chosen && CapVersion(ssl) &&
      BindAndAsk(ssl, match.served != nullptr ? match.served->binding
                                              : InfoOf(SSL_get_SSL_CTX(ssl)).default_binding)) {
    return SSL_CLIENT_HELLO_SUCCESS;
  }
  *alert = SSL_AD_INTERNAL_ERROR;
  return SSL_CLIENT_HELLO_ERROR;
}

// Acknowledges the name, which also writes it into the session. OpenSSL resumes a TLS 1.2 session under any
// name all the same: OnTicketOpened compares.
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

// The lifetime of the chosen context: OpenSSL would take that of the one the SSL was made with.
int OnNewTicket(SSL* ssl, void* /*argument*/) {
  const auto lifetime = static_cast<long>(InfoOf(SSL_get_SSL_CTX(ssl)).policy.ticket_lifetime_s);
  SSL_SESSION_set_timeout(SSL_get_session(ssl), lifetime);
  return KeepIdentityInTicket(ssl) ? 1 : 0;
}

// The client wants the status of the certificate that has been chosen for it. Not called on resumption.
int OnStatusRequest(SSL* ssl, void* /*argument*/) {
  HandshakeDelegate* delegate = DelegateOf(ssl);
  const Staples* staples = delegate->staples();
  const std::vector<Leaf>& leaves = InfoOf(SSL_get_SSL_CTX(ssl)).leaves;
  const auto leaf =
      std::find_if(leaves.begin(), leaves.end(),
                   [chosen = SSL_get_certificate(ssl)](const Leaf& l) { return l.certificate == chosen; });
  if (staples == nullptr || leaf == leaves.end()) return SSL_TLSEXT_ERR_NOACK;
  const Staples::Answer answer = staples->Find(leaf->fingerprint, std::time(nullptr));
  if (answer.found == Staples::Found::kMissing) {
    delegate->OnStapleMissing();
    return SSL_TLSEXT_ERR_ALERT_FATAL;  // internal_error
  }
  if (answer.found == Staples::Found::kNone) return SSL_TLSEXT_ERR_NOACK;
  void* copy = OPENSSL_memdup(answer.response->data(), answer.response->size());
  if (copy == nullptr) return SSL_TLSEXT_ERR_NOACK;
  SSL_set_tlsext_status_ocsp_resp(ssl, copy, answer.response->size());  // the SSL owns it from here on
  return SSL_TLSEXT_ERR_OK;
}

// One write a line: lines of several threads do not mix in a file opened for appending.
void OnKeyLog(const SSL* ssl, const char* line) {
  const std::string text = std::string(line) + "\n";
  (void)!write(InfoOf(SSL_get_SSL_CTX(ssl)).key_log_fd, text.data(), text.size());
}

// RFC 8879, since OpenSSL 3.2; the headers we compile with may be older, and older libraries ignore the bits.
// Off: a compressed certificate is one more decoder on each side, for bytes that resumption saves anyway.
constexpr uint64_t kNoCertificateCompression = uint64_t{1} << 32 | uint64_t{1} << 33;

SslCtxPtr NewContext(const CryptoLibrary& library, const PolicySpec& policy) {
  SslCtxPtr ctx(SSL_CTX_new_ex(library.libctx(), nullptr, TLS_server_method()));
  if (ctx == nullptr) return nullptr;
  SSL_CTX* c = ctx.get();
  SSL_CTX_set_options(c, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                             SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | kNoCertificateCompression |
                             (policy.tickets == 0 ? SSL_OP_NO_TICKET : 0));
  // NO_AUTO_CHAIN: the chain is the one configured; building one from a store would cost every handshake.
  SSL_CTX_set_mode(c, SSL_MODE_ASYNC | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                          SSL_MODE_NO_AUTO_CHAIN);
  // The second choice: see TlsStream::ReleaseBuffers().
  if (!FreesBuffersSafely(OpenSSL_version_num())) SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(c, 1);
  // Resumption is by ticket only; there is no server-side cache to share or to fill.
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_timeout(c, static_cast<long>(policy.ticket_lifetime_s));
  SSL_CTX_set_num_tickets(c, policy.tickets);
  SSL_CTX_set_max_early_data(c, 0);
  SSL_CTX_set_tlsext_ticket_key_evp_cb(c, &OnTicket);
  SSL_CTX_set_session_ticket_cb(c, &OnNewTicket, &OnTicketOpened, nullptr);
  SSL_CTX_set_client_hello_cb(c, &OnClientHello, nullptr);
  SSL_CTX_set_tlsext_servername_callback(c, &OnServerName);
  SSL_CTX_set_alpn_select_cb(c, &OnAlpn, nullptr);
  SSL_CTX_set_tlsext_status_cb(c, &OnStatusRequest);
  return ctx;
}

// A ticket is good only where what it stands for would be agreed on again: without the policy, a session with
// a suite that one listener allows could be resumed on another that does not; without the name, a session
// with one host could be carried on as one with another, whose certificate the client has not seen.
SessionBinding BindingOf(const PolicySpec& policy, const std::string& name) {
  return BindingTo(std::to_string(policy.min_version) + ' ' + std::to_string(policy.max_version) + ' ' +
                   policy.ciphers + ' ' + policy.ciphersuites + '\n' + name);
}

// Empty when all went well; else what OpenSSL did not like.
std::string ApplyPolicy(SSL_CTX* ctx, const PolicySpec& policy) {
  if (SSL_CTX_set_min_proto_version(ctx, policy.min_version) != 1) return "minimum version";
  if (SSL_CTX_set_max_proto_version(ctx, policy.max_version) != 1) return "maximum version";
  if (!policy.ciphers.empty() && SSL_CTX_set_cipher_list(ctx, policy.ciphers.c_str()) != 1)
    return "cipher list " + policy.ciphers;
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

bool AddCertificate(SSL_CTX* ctx, const CryptoLibrary& library, const CertificateSpec& spec,
                    std::vector<Leaf>* leaves) {
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
  leaves->push_back({leaf.get(), FingerprintOf(leaf.get())});
  return true;
}

std::string JoinNames(const std::vector<std::string>& names) {
  std::string joined;
  for (const auto& name : names) joined += (joined.empty() ? "" : ", ") + name;
  return joined;
}

}  // namespace

SessionBinding BindingTo(std::string_view words) {
  SessionBinding digest{};
  static_assert(std::tuple_size_v<SessionBinding> == SHA256_DIGEST_LENGTH);
  SHA256(reinterpret_cast<const unsigned char*>(words.data()), words.size(), digest.data());
  return digest;
}

SessionBinding Both(const SessionBinding& a, const SessionBinding& b) {
  SessionBinding both = a;
  for (size_t i = 0; i < both.size(); ++i) both[i] ^= b[i];
  return both;
}

// The first release of each series that has the fix; every later series was born with it.
bool FreesBuffersSafely(unsigned long openssl_version) {
  constexpr unsigned long kFixed[] = {0x300000e0, 0x30100060, 0x30200020, 0x30300010};  // 3.0.14 and so on
  constexpr unsigned long kSeries = 0xfff00000;                                         // major and minor
  for (const unsigned long fixed : kFixed) {
    if ((openssl_version & kSeries) == (fixed & kSeries)) return openssl_version >= fixed;
  }
  return openssl_version >= 0x30400000;
}

Contexts::Created Contexts::Create(const CryptoLibrary& library, const std::vector<EndpointSpec>& endpoints,
                                   const Options& options) {
  const ErrorQueueScope errors;
  std::shared_ptr<Contexts> made(new Contexts());
  for (const EndpointSpec& spec : endpoints) {
    auto endpoint = std::make_unique<Endpoint>();
    if (auto failure = Fill(*endpoint, library, spec, options)) return std::move(*failure);
    for (const uint32_t id : spec.listener_ids) made->by_listener_.emplace(id, endpoint.get());
    made->endpoints_.push_back(std::move(endpoint));
  }
  return made;
}

std::optional<OpensslFailure> Contexts::Fill(Endpoint& endpoint, const CryptoLibrary& library,
                                             const EndpointSpec& spec, const Options& options) {
  if (spec.credentials.empty()) return OpensslFailure{"no credentials were given", {}};
  endpoint.refuse_unknown_names = spec.refuse_unknown_names;
  for (const CredentialsSpec& credentials : spec.credentials) {
    SslCtxPtr ctx = NewContext(library, credentials.policy);
    if (ctx == nullptr) return FailureWithQueue("OpenSSL has no TLS context for us");
    if (const std::string refused = ApplyPolicy(ctx.get(), credentials.policy); !refused.empty()) {
      return FailureWithQueue("OpenSSL refuses the " + refused);
    }
    std::vector<Leaf> leaves;
    for (const CertificateSpec& certificate : credentials.certificates) {
      if (!AddCertificate(ctx.get(), library, certificate, &leaves)) {
        return FailureWithQueue("OpenSSL refuses a certificate for " + JoinNames(credentials.names));
      }
    }
    if (SSL_CTX_set1_sigalgs_list(ctx.get(), credentials.signature_schemes.c_str()) != 1) {
      return FailureWithQueue("OpenSSL refuses the signature schemes " + credentials.signature_schemes);
    }
    const std::string first = credentials.names.empty() ? std::string() : credentials.names.front();
    if (!SetInfo(ctx.get(), std::make_unique<ContextInfo>(
                                ContextInfo{credentials.policy, std::move(leaves), credentials.tls13_schemes,
                                            BindingOf(credentials.policy, first), options.key_log_fd}))) {
      return FailureWithQueue("OpenSSL has no memory");
    }
    if (options.key_log_fd >= 0) SSL_CTX_set_keylog_callback(ctx.get(), &OnKeyLog);
    for (const std::string& name : credentials.names) {
      const Served served{.context = ctx.get(), .binding = BindingOf(credentials.policy, name)};
      // The first credentials that claim a name keep it.
      if (name.starts_with("*."))
        endpoint.by_wildcard.emplace(name.substr(1), served);
      else
        endpoint.by_name.emplace(name, served);
    }
    endpoint.contexts.push_back(std::move(ctx));
  }
  return std::nullopt;
}

const Contexts::Endpoint* Contexts::EndpointOf(uint32_t listener_id) const {
  const auto found = by_listener_.find(listener_id);
  return found == by_listener_.end() ? nullptr : found->second;
}

SslPtr Contexts::NewSsl(HandshakeDelegate* delegate) const {
  const Endpoint* endpoint = EndpointOf(delegate->listener_id());
  if (endpoint == nullptr) return nullptr;
  SslPtr ssl(SSL_new(endpoint->contexts.front().get()));
  if (ssl == nullptr) return nullptr;
  SSL_set_app_data(ssl.get(), delegate);
  SSL_set_accept_state(ssl.get());
  return ssl;
}

Contexts::Match Contexts::Find(uint32_t listener_id, std::string_view server_name) const {
  const Endpoint* endpoint = EndpointOf(listener_id);
  if (endpoint == nullptr) return {};
  if (server_name.empty()) return {};
  const Match unknown{.refused = endpoint->refuse_unknown_names};
  // A trailing dot is the same name (RFC 1034 §3.1); the extension should not carry one, some clients do.
  if (server_name.ends_with('.')) server_name.remove_suffix(1);
  if (server_name.empty()) return unknown;
  std::string name(server_name);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  if (const auto exact = endpoint->by_name.find(name); exact != endpoint->by_name.end())
    return {.served = &exact->second};
  const size_t dot = name.find('.');
  if (dot == std::string::npos || dot == 0) return unknown;
  const auto wildcard = endpoint->by_wildcard.find(name.substr(dot));
  return wildcard == endpoint->by_wildcard.end() ? unknown : Match{.served = &wildcard->second};
}

}  // namespace sealgate
