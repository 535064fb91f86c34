// SPDX-License-Identifier: Apache-2.0
// Client certificates: who is let in, what is said of who is not, and what a resumed session still knows.
#include "client_authentication.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "peer_certificate.h"
#include "support/authority.h"
#include "support/front.h"
#include "support/tls_client.h"

namespace sealgate::test {
namespace {

using Kind = AllowRule::Kind;

class ClientCertificates : public testing::TestWithParam<int> {
 protected:
  Authority root_{"root"};

  [[nodiscard]] ClientAuthenticationSpec Required() const {
    return {.require = true, .authorities = {root_.der()}, .depth = 2};
  }

  // What the worker is told of a client that shows this (or nothing); null when the handshake failed.
  struct Visit {
    bool let_in = false;
    bool resumed = false;
    int alert = -1;
    std::shared_ptr<const PeerCertificate> certificate;
    SslSessionPtr ticket;
  };
  [[nodiscard]] static Visit Come(Front& front, Worker& worker, const Identity* identity,
                                  SSL_SESSION* session = nullptr) {
    const auto done = [&] { return front.handshakes(false) + front.handshakes(true); };
    const uint64_t done_before = done();
    const uint64_t failed_before = front.handshakes_failed();
    TlsClient client(front.port(), {.version = GetParam(), .session = session});
    if (identity != nullptr) Present(client, *identity);
    Visit visit;
    // In TLS 1.3 the client is done before the server has seen its certificate.
    const bool greeted = client.Handshake() && client.Write("x");
    EXPECT_TRUE(
        Eventually([&] { return done() > done_before || front.handshakes_failed() > failed_before; }));
    if (!greeted || front.handshakes_failed() > failed_before) {
      if (greeted) (void)client.ReadToEnd();
      visit.resumed = client.resumed();
      visit.alert = client.alert();
      return visit;
    }
    const auto plain = worker.Next();
    if (!plain) return visit;
    SendAll(plain->fd.get(), "y");
    EXPECT_EQ(client.ReadExactly(1), "y");
    visit.let_in = true;
    visit.resumed = client.resumed();
    visit.certificate = plain->facts.client_certificate;
    client.CloseNotify();
    visit.ticket = client.session();
    return visit;
  }

  // The client is refused with this alert, and the log has this reason.
  static void ExpectRefused(const ClientAuthenticationSpec& spec, const Identity* identity, int alert,
                            const std::string& reason) {
    Front front({.client_authentication = spec});
    TlsClient client(front.port(), {.version = GetParam()});
    if (identity != nullptr) Present(client, *identity);
    if (client.Handshake()) (void)client.ReadToEnd();
    EXPECT_EQ(client.alert(), alert);
    const auto failed = front.Next<HandshakeFailed>();
    ASSERT_TRUE(failed);
    EXPECT_NE(failed->reason.find(reason), std::string::npos) << failed->reason;
    EXPECT_EQ(front.handshakes(false), 0U);
  }
};

TEST_P(ClientCertificates, OfEveryKeyTypeAreVerifiedAndTold) {
  Front front({.client_authentication = Required()});
  Worker worker(front);
  for (const KeyKind kind : {KeyKind::kP256, KeyKind::kP384, KeyKind::kRsa2048, KeyKind::kEd25519}) {
    const Identity identity = root_.Issue({
        .subject = "Jürgen, of \"x\"",
        .names = "DNS:a.example,URI:spiffe://example/a,email:a@b.example,IP:10.0.0.1,IP:2001:db8::1",
        .kind = kind,
    });

    const Visit visit = Come(front, worker, &identity);

    ASSERT_TRUE(visit.let_in);
    ASSERT_NE(visit.certificate, nullptr);
    EXPECT_EQ(visit.certificate->certificate, ToDer(identity.certificate.get()));
    EXPECT_TRUE(visit.certificate->chain.empty());
    EXPECT_EQ(visit.certificate->subject, "CN=J\\C3\\BCrgen\\, of \\\"x\\\"");
    EXPECT_EQ(visit.certificate->subject_alt_names,
              (std::vector<std::string>{"DNS:a.example", "URI:spiffe://example/a", "email:a@b.example",
                                        "IP:10.0.0.1", "IP:2001:0db8:0000:0000:0000:0000:0000:0001"}));
    EXPECT_EQ(visit.certificate->serial, SerialText(identity.certificate.get()));
    EXPECT_EQ(visit.certificate->fingerprint.size(), 64U);
  }
}

TEST_P(ClientCertificates, AreProvedWithSha224InTls12Only) {
  Front front({.client_authentication = Required()});
  TlsClient client(front.port(), {.version = GetParam()});
  Present(client, root_.Issue());
  ASSERT_EQ(SSL_set1_client_sigalgs_list(client.ssl(), "ECDSA+SHA224"), 1);

  (void)client.Handshake();

  const uint64_t done = GetParam() == TLS1_2_VERSION ? 1 : 0;
  EXPECT_TRUE(Eventually([&] { return front.handshakes(false) + front.handshakes_failed() == 1; }));
  EXPECT_EQ(front.handshakes(false), done);
}

TEST_P(ClientCertificates, ThatAreRequestedMayBeMissing) {
  ClientAuthenticationSpec spec = Required();
  spec.require = false;
  Front front({.client_authentication = spec});
  Worker worker(front);

  const Visit visit = Come(front, worker, nullptr);

  ASSERT_TRUE(visit.let_in);
  EXPECT_EQ(visit.certificate, nullptr);
}

TEST_P(ClientCertificates, ThatAreRequestedMustBeValidWhenTheyAreShown) {
  ClientAuthenticationSpec spec = Required();
  spec.require = false;
  Authority stranger("stranger");
  const Identity identity = stranger.Issue();
  ExpectRefused(spec, &identity, SSL_AD_UNKNOWN_CA, "unable to get local issuer certificate");
}

TEST_P(ClientCertificates, ThatAreRequiredMustNotBeMissing) {
  ExpectRefused(Required(), nullptr,
                GetParam() == TLS1_3_VERSION ? SSL_AD_CERTIFICATE_REQUIRED : SSL_AD_HANDSHAKE_FAILURE,
                "peer did not return a certificate");
}

TEST_P(ClientCertificates, OfAnUnknownAuthorityAreRefused) {
  Authority same_name("root");
  const Identity identity = same_name.Issue();
  // Same name, other key: the signature is what counts.
  ExpectRefused(Required(), &identity, SSL_AD_DECRYPT_ERROR, "certificate signature failure");
}

TEST_P(ClientCertificates, OutsideTheirTimeAreRefused) {
  const Identity expired = root_.Issue({.not_before_s = -7200, .not_after_s = -3600});
  ExpectRefused(Required(), &expired, SSL_AD_CERTIFICATE_EXPIRED,
                "certificate has expired (CN=client, serial ");
  const Identity early = root_.Issue({.not_before_s = 3600});
  ExpectRefused(Required(), &early, SSL_AD_BAD_CERTIFICATE, "certificate is not yet valid");
}

TEST_P(ClientCertificates, ForServersAreRefused) {
  const Identity identity = root_.Issue({.usage = "serverAuth"});
  ExpectRefused(Required(), &identity, SSL_AD_UNSUPPORTED_CERTIFICATE, "unsuitable certificate purpose");
}

TEST_P(ClientCertificates, ThatAreRevokedAreRefused) {
  const Identity identity = root_.Issue();
  ClientAuthenticationSpec spec = Required();
  spec.revocation_lists = {root_.Revoke({&identity})};
  ExpectRefused(spec, &identity, SSL_AD_CERTIFICATE_REVOKED, "certificate revoked");
}

TEST_P(ClientCertificates, AreRefusedWhenTheListIsTooOldOrMissing) {
  const Identity identity = root_.Issue();
  ClientAuthenticationSpec spec = Required();
  spec.revocation_lists = {root_.Revoke({}, -60)};
  ExpectRefused(spec, &identity, SSL_AD_CERTIFICATE_EXPIRED, "CRL has expired");
  Authority other("other");
  spec.authorities.push_back(other.der());
  spec.revocation_lists = {other.Revoke({})};
  ExpectRefused(spec, &identity, SSL_AD_UNKNOWN_CA, "unable to get certificate CRL");
}

TEST_P(ClientCertificates, HaveTheIntermediatesThatDepthAllows) {
  Authority middle("middle", &root_);
  const Identity identity = middle.Issue();
  ClientAuthenticationSpec spec = Required();
  spec.keep_chain = true;
  {
    Front front({.client_authentication = spec});
    Worker worker(front);
    const Visit visit = Come(front, worker, &identity);
    ASSERT_TRUE(visit.let_in);
    EXPECT_EQ(visit.certificate->chain, std::vector<Bytes>{middle.der()});
  }
  spec.depth = 0;
  ExpectRefused(spec, &identity, SSL_AD_UNKNOWN_CA, "certificate chain too long");
}

TEST_P(ClientCertificates, OfAnIntermediateAloneAreRefused) {
  Authority middle("middle", &root_);
  const Identity identity = middle.Issue();
  ClientAuthenticationSpec spec = Required();
  spec.authorities = {middle.der()};  // without its root it is no anchor: partial chains are off
  ExpectRefused(spec, &identity, SSL_AD_UNKNOWN_CA, "unable to get issuer certificate");
}

TEST_P(ClientCertificates, ThatFitNoRuleAreRefused) {
  ClientAuthenticationSpec spec = Required();
  spec.allow = {{Kind::kDns, "a.example"}, {Kind::kSpiffe, "spiffe://example/ns/prod/*"}};
  const Identity wrong = root_.Issue({.names = "DNS:b.example,URI:spiffe://example/ns/dev/a"});
  ExpectRefused(spec, &wrong, SSL_AD_BAD_CERTIFICATE, "not allowed by this listener");
  const Identity two = root_.Issue({.names = "URI:spiffe://example/ns/prod/a,URI:spiffe://example/b"});
  ExpectRefused(spec, &two, SSL_AD_BAD_CERTIFICATE, "URI:spiffe://example/b");  // an SVID has one

  // Also where nobody else gets to see the second one.
  const Identity hidden = root_.Issue({.names = "URI:spiffe://example/ns/prod/a,URI:spiffe://example/b c"});
  ExpectRefused(spec, &hidden, SSL_AD_BAD_CERTIFICATE, "not allowed by this listener");

  Front front({.client_authentication = spec});
  Worker worker(front);
  const Identity right = root_.Issue({.names = "URI:spiffe://example/ns/prod/a"});
  EXPECT_TRUE(Come(front, worker, &right).let_in);
}

TEST_P(ClientCertificates, ThatAreTooLargeAreRefusedAndNothingIsLeft) {
  Identity identity = root_.Issue();
  for (int i = 0; i < 200; ++i) identity.chain.push_back(root_.der());
  ExpectRefused(Required(), &identity, SSL_AD_ILLEGAL_PARAMETER, "excessive message size");
}

// ---- a reload while the client is on its way in
// ------------------------------------------------------------

// The certificate comes after the signature, and the signature may take as long as a reload.
class ClientCertificatesDuringAReload : public ClientCertificates {
 protected:
  Authority other_{"other"};

  // True when a client that was asked under one policy is let in after the listener has got another.
  [[nodiscard]] static bool LetsIn(const ClientAuthenticationSpec& before,
                                   const ClientAuthenticationSpec& after, const Identity& identity) {
    Front front({.client_authentication = before});
    Worker worker(front);
    front.SetAnswer(Answer::kHold);
    TlsClient client(front.port(), {.version = GetParam()});
    Present(client, identity);
    client.BeginHandshake();
    const auto request = front.held.Take();
    if (!request) throw std::runtime_error("nobody has asked for a signature");
    front.SetClientAuthentication(after);
    Front::Sign(*request);
    const bool greeted = client.Handshake() && client.Write("x");
    EXPECT_TRUE(Eventually([&] { return front.handshakes_failed() + front.handshakes(false) == 1; }));
    if (front.handshakes(false) == 0) return false;
    EXPECT_TRUE(greeted);
    const auto plain = worker.Next();
    EXPECT_TRUE(plain && plain->facts.client_certificate);
    return true;
  }
};

TEST_P(ClientCertificatesDuringAReload, ThatNeitherPolicyLetsInAreRefused) {
  ClientAuthenticationSpec before = Required();
  before.allow = {{Kind::kDns, "admin.example"}};
  ClientAuthenticationSpec after = Required();
  after.authorities = {other_.der()};
  const Identity user = root_.Issue({.names = "DNS:user.example"});

  EXPECT_FALSE(LetsIn(before, after, user));
}

TEST_P(ClientCertificatesDuringAReload, AreJudgedByThePolicyThatAskedForThem) {
  ClientAuthenticationSpec admins = Required();
  admins.allow = {{Kind::kDns, "admin.example"}};
  const Identity user = root_.Issue({.names = "DNS:user.example"});

  EXPECT_TRUE(LetsIn(Required(), admins, user));
  EXPECT_FALSE(LetsIn(admins, Required(), user));
}

INSTANTIATE_TEST_SUITE_P(Tls, ClientCertificatesDuringAReload,
                         testing::Values(TLS1_2_VERSION, TLS1_3_VERSION), [](const auto& info) {
                           return info.param == TLS1_3_VERSION ? std::string("tls13") : std::string("tls12");
                         });

// ---- resumption -------------------------------------------------------------------------------------------

TEST_P(ClientCertificates, AreStillKnownWhenASessionIsResumed) {
  Authority middle("middle", &root_);
  const Identity identity = middle.Issue({.names = "DNS:a.example"});
  ClientAuthenticationSpec spec = Required();
  spec.keep_chain = true;
  Front front({.threads = 2, .client_authentication = spec});
  Worker worker(front);
  Visit visit = Come(front, worker, &identity);
  ASSERT_TRUE(visit.let_in);
  for (int i = 0; i < 3; ++i) {
    ASSERT_NE(visit.ticket, nullptr);
    const SslSessionPtr ticket = std::move(visit.ticket);

    visit = Come(front, worker, &identity, ticket.get());

    ASSERT_TRUE(visit.resumed);
    EXPECT_EQ(visit.certificate->certificate, ToDer(identity.certificate.get()));
    EXPECT_EQ(visit.certificate->chain, std::vector<Bytes>{middle.der()});
    EXPECT_EQ(visit.certificate->subject_alt_names, std::vector<std::string>{"DNS:a.example"});
  }
}

TEST_P(ClientCertificates, AreAskedForAgainUnderAnotherPolicy) {
  // As in a fleet: same ticket keys, other processes.
  Front open;
  ClientAuthenticationSpec spec = Required();
  spec.require = false;
  Front asking({.client_authentication = spec});
  Front strict({.client_authentication = Required()});
  const Identity identity = root_.Issue();
  for (Front* from : {&open, &asking}) {
    Worker worker(*from);
    const Visit visit = Come(*from, worker, nullptr);
    ASSERT_NE(visit.ticket, nullptr);
    Worker strict_worker(strict);

    const Visit refused = Come(strict, strict_worker, nullptr, visit.ticket.get());

    EXPECT_FALSE(refused.let_in);
    EXPECT_FALSE(refused.resumed);
    EXPECT_NE(refused.alert, -1);
  }
  Worker worker(strict);
  const Visit visit = Come(strict, worker, &identity);
  Worker open_worker(open);
  ASSERT_NE(visit.ticket, nullptr);
  EXPECT_FALSE(Come(open, open_worker, nullptr, visit.ticket.get()).resumed);
}

TEST_P(ClientCertificates, AreVerifiedAgainWhenTheRevocationListChanges) {
  ClientAuthenticationSpec spec = Required();
  spec.revocation_lists = {root_.Revoke({})};
  Front front({.client_authentication = spec});
  Worker worker(front);
  const Identity good = root_.Issue();
  const Identity bad = root_.Issue();
  const Visit good_visit = Come(front, worker, &good);
  const Visit bad_visit = Come(front, worker, &bad);
  ASSERT_TRUE(good_visit.let_in && bad_visit.let_in);

  spec.revocation_lists = {root_.Revoke({&bad})};
  front.SetClientAuthentication(spec);

  const Visit again = Come(front, worker, &good, good_visit.ticket.get());
  EXPECT_TRUE(again.let_in);
  EXPECT_FALSE(again.resumed);
  const Visit revoked = Come(front, worker, &bad, bad_visit.ticket.get());
  EXPECT_FALSE(revoked.let_in);
  EXPECT_EQ(revoked.alert, SSL_AD_CERTIFICATE_REVOKED);
}

TEST_P(ClientCertificates, DoNotOutliveThemselvesInATicket) {
  Front front({.client_authentication = Required()});
  Worker worker(front);
  const Identity brief = root_.Issue({.not_after_s = 2});
  const time_t begin = std::time(nullptr);
  Visit visit = Come(front, worker, &brief);
  ASSERT_TRUE(visit.let_in);
  ASSERT_NE(visit.ticket, nullptr);
  ASSERT_TRUE(Eventually([&] { return std::time(nullptr) > begin + 3; }));

  const Visit late = Come(front, worker, &brief, visit.ticket.get());

  EXPECT_FALSE(late.let_in);
  EXPECT_EQ(late.alert, SSL_AD_CERTIFICATE_EXPIRED);
}

INSTANTIATE_TEST_SUITE_P(Tls, ClientCertificates, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& info) {
                           return info.param == TLS1_3_VERSION ? std::string("tls13") : std::string("tls12");
                         });

// ---- what OpenSSL is not given ----------------------------------------------------------------------------

TEST(ClientAuthenticationFiles, ThatAreBrokenChangeNothing) {
  Authority root("root");
  Authority same_name("root");
  Front front({.client_authentication = ClientAuthenticationSpec{.authorities = {root.der()}}});
  Bytes cut = root.der();
  cut.resize(cut.size() / 2);
  EXPECT_THROW(front.SetClientAuthentication({.authorities = {}}), std::runtime_error);
  EXPECT_THROW(front.SetClientAuthentication({.authorities = {cut}}), std::runtime_error);
  EXPECT_THROW(
      front.SetClientAuthentication({.authorities = {root.der()}, .revocation_lists = {{0x30, 0x03}}}),
      std::runtime_error);
  EXPECT_THROW(front.SetClientAuthentication(
                   {.authorities = {root.der()}, .revocation_lists = {same_name.Revoke({})}}),
               std::runtime_error);

  TlsClient client(front.port());
  EXPECT_TRUE(client.Handshake());
}

TEST(ClientAuthenticationRules, FitWholeNamesOfTheirKindOnly) {
  const auto fits = [](Kind kind, const char* pattern, const char* name) {
    return NameFits({kind, pattern}, name);
  };
  EXPECT_TRUE(fits(Kind::kDns, "a.example", "DNS:A.Example"));
  EXPECT_FALSE(fits(Kind::kDns, "a.example", "URI:a.example"));
  EXPECT_FALSE(fits(Kind::kDns, "a.example", "DNS:a.example.evil"));
  EXPECT_TRUE(fits(Kind::kDns, "*.example", "DNS:a.example"));
  EXPECT_FALSE(fits(Kind::kDns, "*.example", "DNS:a.b.example"));
  EXPECT_FALSE(fits(Kind::kDns, "*.example", "DNS:.example"));
  EXPECT_FALSE(fits(Kind::kDns, "*.example", "DNS:*.example"));
  EXPECT_FALSE(fits(Kind::kDns, "*.example", "DNS:example"));
  EXPECT_TRUE(fits(Kind::kUri, "https://a/b", "URI:https://a/b"));
  EXPECT_FALSE(fits(Kind::kUri, "https://a/b", "URI:https://a/b/c"));
  EXPECT_TRUE(fits(Kind::kUri, "https://a/*", "URI:https://a/b/c"));
  EXPECT_FALSE(fits(Kind::kUri, "https://a/*", "URI:https://a/"));
  EXPECT_FALSE(fits(Kind::kUri, "https://a/*", "URI:https://ab/c"));
  EXPECT_FALSE(fits(Kind::kSpiffe, "spiffe://a/b/*", "URI:spiffe://a/b/../c"));
  EXPECT_FALSE(fits(Kind::kSpiffe, "spiffe://a/b/*", "URI:spiffe://a/b/%2e%2e/c"));
  EXPECT_TRUE(fits(Kind::kEmail, "a@b.example", "email:a@b.example"));
  EXPECT_FALSE(fits(Kind::kEmail, "a@b.example", "email:aa@b.example"));
  EXPECT_FALSE(fits(Kind::kSpki, "", "DNS:"));
}

}  // namespace
}  // namespace sealgate::test
