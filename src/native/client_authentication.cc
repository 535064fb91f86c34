// SPDX-License-Identifier: Apache-2.0
// Long because it is one policy: asked for, verified, compared, kept in tickets; a digest covers all of it.
#include "client_authentication.h"

#include <openssl/sha.h>

#include <algorithm>
#include <limits>

#include "peer_certificate.h"

namespace sealgate {

namespace {

// A leaf and some intermediates, post-quantum ones too. What a client sends beyond it is refused before it is
// parsed; with it a session stays within the 64 KiB of a ticket.
constexpr long kMaxChainBytes = 32L * 1024;
constexpr size_t kMaxTicketChainBytes = size_t{24} * 1024;
// The question must fit into some records, and clients manage without the names (RFC 8446 §4.2.4).
constexpr size_t kMaxNamesBytes = size_t{16} * 1024;

// What clients may sign with. The context's own list is what our keys can do, which is another matter.
constexpr const char* kSignatureSchemes =
    "ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ecdsa_secp521r1_sha512:ed25519:ed448:"
    "rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:"
    "rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512:"
    "rsa_pkcs1_sha256:rsa_pkcs1_sha384:rsa_pkcs1_sha512:"
    "ECDSA+SHA224:RSA+SHA224";  // TLS 1.2 only: OpenSSL takes neither in TLS 1.3

HandshakeDelegate* DelegateOf(SSL* ssl) { return static_cast<HandshakeDelegate*>(SSL_get_app_data(ssl)); }

time_t ToTime(const ASN1_TIME* time) {
  std::tm broken{};
  return ASN1_TIME_to_tm(time, &broken) == 1 ? timegm(&broken) : 0;
}

X509Ptr ParseAuthority(const CryptoLibrary& library, const Bytes& der) {
  X509* certificate = X509_new_ex(library.libctx(), nullptr);
  if (certificate == nullptr) return nullptr;
  const unsigned char* cursor = der.data();
  // On failure d2i frees the object and clears the pointer.
  if (d2i_X509(&certificate, &cursor, static_cast<long>(der.size())) == nullptr) return nullptr;
  return X509Ptr(certificate);
}

X509CrlPtr ParseRevocationList(const CryptoLibrary& library, const Bytes& der) {
  X509_CRL* list = X509_CRL_new_ex(library.libctx(), nullptr);
  if (list == nullptr) return nullptr;
  const unsigned char* cursor = der.data();
  if (d2i_X509_CRL(&list, &cursor, static_cast<long>(der.size())) == nullptr) return nullptr;
  return X509CrlPtr(list);
}

// Not so when an authority has its issuer's name but none of those has signed it. A list of an issuer that we
// do not know may be for an intermediate that clients bring along.
bool IsSignedByItsIssuer(X509_CRL* list, const std::vector<X509Ptr>& authorities) {
  bool known = false;
  for (const X509Ptr& authority : authorities) {
    if (X509_NAME_cmp(X509_get_subject_name(authority.get()), X509_CRL_get_issuer(list)) != 0) continue;
    known = true;
    if (X509_CRL_verify(list, X509_get0_pubkey(authority.get())) == 1) return true;
  }
  return !known;
}

// Every part with its length, so that no two specifications have the same digest.
class Digest final {
 public:
  void Add(std::string_view part) {
    const uint64_t size = part.size();
    text_.append(reinterpret_cast<const char*>(&size), sizeof size);
    text_ += part;
  }
  void Add(uint64_t number) { Add(std::to_string(number)); }
  void Add(const std::vector<Bytes>& list) {
    Add(list.size());
    for (const Bytes& bytes : list) Add({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  [[nodiscard]] SessionBinding Finish() const { return BindingTo(text_); }

 private:
  std::string text_;
};

SessionBinding DigestOf(const ClientAuthenticationSpec& spec) {
  Digest digest;
  digest.Add(spec.require ? "require" : "request");
  digest.Add(spec.authorities);
  digest.Add(spec.revocation_lists);
  digest.Add(spec.check_whole_chain ? 1 : 0);
  digest.Add(spec.depth);
  for (const AllowRule& rule : spec.allow) {
    digest.Add(static_cast<uint64_t>(rule.kind));
    digest.Add(rule.pattern);
  }
  digest.Add(spec.keep_chain ? 1 : 0);
  return digest.Finish();
}

std::string PinOf(X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  if (size <= 0) return {};
  uint8_t digest[SHA256_DIGEST_LENGTH];
  SHA256(der, static_cast<size_t>(size), digest);
  OPENSSL_free(der);
  unsigned char text[4 * ((SHA256_DIGEST_LENGTH + 2) / 3) + 1];
  const int length = EVP_EncodeBlock(text, digest, sizeof digest);
  return {reinterpret_cast<const char*>(text), static_cast<size_t>(length)};
}

std::string Described(X509* certificate) {
  return " (" + SubjectText(certificate) + ", serial " + SerialText(certificate) + ")";
}

// OpenSSL has looked at one certificate of the chain; the leaf comes last.
int OnVerified(int ok, X509_STORE_CTX* context) {
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx()));
  HandshakeDelegate* delegate = DelegateOf(ssl);
  X509* certificate = X509_STORE_CTX_get_current_cert(context);  // borrowed; may be null with an error
  if (ok == 1) {
    if (X509_STORE_CTX_get_error_depth(context) != 0) return 1;
    const ClientAuthentication* authentication = delegate->client_authentication();
    if (authentication != nullptr && authentication->Allows(certificate)) return 1;
    std::string names;
    for (const std::string& name : SubjectAltNames(certificate)) names += ", " + name;
    delegate->OnCertificateRefused("not allowed by this listener" + Described(certificate) +
                                   names.substr(0, 512));
    X509_STORE_CTX_set_error(context, X509_V_ERR_CERT_REJECTED);
    return 0;
  }
  const int error = X509_STORE_CTX_get_error(context);
  delegate->OnCertificateRefused(X509_verify_cert_error_string(error) +
                                 (certificate == nullptr ? std::string() : Described(certificate)));
  return 0;
}

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

bool DnsFits(std::string_view pattern, std::string_view name) {
  if (!pattern.starts_with("*.")) return EqualIgnoringCase(pattern, name);
  const size_t dot = name.find('.');
  // A certificate for "*.example.com" is not one of the hosts that "*.example.com" here stands for.
  return dot != std::string_view::npos && dot > 0 && name.front() != '*' &&
         EqualIgnoringCase(pattern.substr(1), name.substr(dot));
}

bool UriFits(std::string_view pattern, std::string_view uri) {
  if (!pattern.ends_with("/*")) return pattern == uri;
  pattern.remove_suffix(1);
  if (!uri.starts_with(pattern) || uri.size() == pattern.size()) return false;
  // "beneath" must not lead back up (RFC 3986 §5.2.4), plainly or percent-encoded.
  const std::string_view rest = uri.substr(pattern.size() - 1);
  return rest.find("/.") == std::string_view::npos && rest.find('%') == std::string_view::npos;
}

}  // namespace

ClientAuthentication::Created ClientAuthentication::Create(const CryptoLibrary& library,
                                                           const ClientAuthenticationSpec& spec) {
  const ErrorQueueScope errors;
  std::shared_ptr<ClientAuthentication> made(new ClientAuthentication());
  made->store_.reset(X509_STORE_new());
  made->names_.reset(sk_X509_NAME_new_null());
  if (made->store_ == nullptr || made->names_ == nullptr) return FailureWithQueue("out of memory");
  X509_STORE* store = made->store_.get();

  std::vector<X509Ptr> authorities;
  if (!made->AddAuthorities(library, spec.authorities, &authorities))
    return FailureWithQueue("OpenSSL refuses certificate authority " + std::to_string(authorities.size()));
  if (authorities.empty()) return OpensslFailure{"no certificate authorities were given", {}};

  size_t count = 0;
  for (const Bytes& der : spec.revocation_lists) {
    const std::string name = "revocation list " + std::to_string(++count);
    const X509CrlPtr list = ParseRevocationList(library, der);
    if (list == nullptr || X509_STORE_add_crl(store, list.get()) != 1)  // up_ref: the store has its own
      return FailureWithQueue("OpenSSL refuses " + name);
    if (!IsSignedByItsIssuer(list.get(), authorities))
      return FailureWithQueue(name + " is not signed by the certificate authority that it names");
    const ASN1_TIME* next = X509_CRL_get0_nextUpdate(list.get());
    const time_t ends = next == nullptr ? std::numeric_limits<time_t>::max() : ToTime(next);
    made->lists_end_ = made->lists_end_ == 0 ? ends : std::min(made->lists_end_, ends);
  }

  if (!spec.revocation_lists.empty()) {
    X509_STORE_set_flags(store,
                         X509_V_FLAG_CRL_CHECK | (spec.check_whole_chain ? X509_V_FLAG_CRL_CHECK_ALL : 0U));
  }
  X509_STORE_set_purpose(store, X509_PURPOSE_SSL_CLIENT);
  made->digest_ = DigestOf(spec);
  made->allow_ = spec.allow;
  made->require_ = spec.require;
  made->keep_chain_ = spec.keep_chain;
  made->depth_ = static_cast<int>(spec.depth);
  return made;
}

// *authorities has one more than were taken when it fails: the number of the one that was refused.
bool ClientAuthentication::AddAuthorities(const CryptoLibrary& library, const std::vector<Bytes>& list,
                                          std::vector<X509Ptr>* authorities) {
  size_t names_bytes = 0;
  for (const Bytes& der : list) {
    X509* authority = authorities->emplace_back(ParseAuthority(library, der)).get();
    if (authority == nullptr || X509_STORE_add_cert(store_.get(), authority) != 1) return false;  // up_ref
    X509_NAME* name = X509_get_subject_name(authority);
    names_bytes += static_cast<size_t>(std::max(0, i2d_X509_NAME(name, nullptr)));
    X509_NAME* copy = X509_NAME_dup(name);
    if (copy == nullptr || sk_X509_NAME_push(names_.get(), copy) == 0) {
      X509_NAME_free(copy);
      return false;
    }
  }
  if (names_bytes > kMaxNamesBytes) names_.reset(sk_X509_NAME_new_null());
  return names_ != nullptr;
}

bool ClientAuthentication::Ask(SSL* ssl, const SessionBinding& server) const {
  X509NamesPtr names(SSL_dup_CA_list(names_.get()));
  if (names == nullptr || SSL_set1_verify_cert_store(ssl, store_.get()) != 1) return false;  // up_ref
  // Who may come in belongs to it as well.
  const SessionBinding binding = Both(server, digest_);
  if (SSL_set_session_id_context(ssl, binding.data(), static_cast<unsigned>(binding.size())) != 1)
    return false;
  if (SSL_set1_client_sigalgs_list(ssl, kSignatureSchemes) != 1) return false;
  SSL_set0_CA_list(ssl, names.release());
  SSL_set_max_cert_list(ssl, kMaxChainBytes);
  SSL_set_verify_depth(ssl, depth_);
  SSL_set_verify(ssl,
                 SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE | (require_ ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                 &OnVerified);
  return true;
}

bool ClientAuthentication::Allows(X509* leaf) const {
  if (allow_.empty()) return true;
  const std::vector<std::string> names = SubjectAltNames(leaf);
  const size_t uris = CountUris(leaf);
  std::string pin;
  return std::any_of(allow_.begin(), allow_.end(), [&](const AllowRule& rule) {
    if (rule.kind == AllowRule::Kind::kSpki) {
      if (pin.empty()) pin = PinOf(leaf);
      return !pin.empty() && rule.pattern == pin;
    }
    if (rule.kind == AllowRule::Kind::kSpiffe && uris != 1) return false;
    return std::any_of(names.begin(), names.end(), [&](const auto& name) { return NameFits(rule, name); });
  });
}

bool NameFits(const AllowRule& rule, std::string_view name) {
  const auto after = [&](std::string_view kind) {
    if (!name.starts_with(kind)) return std::string_view();
    return name.substr(kind.size());
  };
  switch (rule.kind) {
    case AllowRule::Kind::kDns: {
      const std::string_view host = after("DNS:");
      return !host.empty() && DnsFits(rule.pattern, host);
    }
    case AllowRule::Kind::kUri:
    case AllowRule::Kind::kSpiffe: {
      const std::string_view uri = after("URI:");
      return !uri.empty() && UriFits(rule.pattern, uri);
    }
    case AllowRule::Kind::kEmail: {
      const std::string_view email = after("email:");
      return !email.empty() && rule.pattern == email;
    }
    case AllowRule::Kind::kSpki:
      break;
  }
  return false;
}

// ---- tickets ----------------------------------------------------------------------------------------------

bool KeepIdentityInTicket(SSL* ssl) {
  SSL_SESSION* session = SSL_get_session(ssl);  // borrowed
  // What a resumed session's ticket said goes on in the next one, the end included.
  if (SSL_SESSION_get0_peer(session) == nullptr || SSL_session_reused(ssl) == 1) return true;
  const ErrorQueueScope errors;
  TicketIdentity identity;
  const ClientAuthentication* authentication = DelegateOf(ssl)->client_authentication();
  const STACK_OF(X509)* chain = SSL_get0_verified_chain(ssl);
  if (authentication != nullptr && sk_X509_num(chain) > 0) {
    time_t ends = std::time(nullptr) + SSL_SESSION_get_timeout(session);
    for (int i = 0; i < sk_X509_num(chain); ++i)
      ends = std::min(ends, ToTime(X509_get0_notAfter(sk_X509_value(chain, i))));
    if (authentication->lists_end() != 0) ends = std::min(ends, authentication->lists_end());
    if (authentication->keep_chain()) identity.chain = VerifiedIssuers(ssl);
    identity.ends = ends;
  }
  size_t size = 0;
  for (const auto& der : identity.chain) size += der.size();
  // Too much for a ticket: one that nobody will accept, for a resumed connection must not know less.
  if (size > kMaxTicketChainBytes) identity = {};
  const std::vector<uint8_t> packed = Pack(identity);
  return SSL_SESSION_set1_ticket_appdata(session, packed.data(), packed.size()) == 1;
}

SSL_TICKET_RETURN OnTicketOpened(SSL* ssl, SSL_SESSION* session, const unsigned char* /*key_name*/,
                                 size_t /*key_name_size*/, SSL_TICKET_STATUS status, void* /*argument*/) {
  switch (status) {
    case SSL_TICKET_SUCCESS:
    case SSL_TICKET_SUCCESS_RENEW:
      break;
    case SSL_TICKET_EMPTY:
    case SSL_TICKET_NO_DECRYPT:
      return SSL_TICKET_RETURN_IGNORE_RENEW;
    default:
      return SSL_TICKET_RETURN_ABORT;
  }
  // TLS 1.2 resumes for the name of the full handshake only (RFC 6066 §3), and OpenSSL goes on telling that
  // one.
  const char* name = SSL_SESSION_get0_hostname(session);  // borrowed; null: none
  if (SSL_version(ssl) < TLS1_3_VERSION &&
      !EqualIgnoringCase(DelegateOf(ssl)->asked_name(), name == nullptr ? "" : name)) {
    return SSL_TICKET_RETURN_IGNORE_RENEW;
  }
  if (SSL_SESSION_get0_peer(session) != nullptr &&
      UnpackTicketIdentity(session).ends <= static_cast<int64_t>(std::time(nullptr))) {
    return SSL_TICKET_RETURN_IGNORE_RENEW;  // a full handshake tells
  }
  return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

}  // namespace sealgate
