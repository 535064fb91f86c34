// SPDX-License-Identifier: Apache-2.0
// What is offered to which client: by the name it asks for, and by what it can verify.
#include <gtest/gtest.h>
#include <openssl/obj_mac.h>

#include <cstdio>

#include "support/front.h"
#include "support/tls_client.h"

namespace sealgate::test {
namespace {

constexpr int k12 = TLS1_2_VERSION;
constexpr int k13 = TLS1_3_VERSION;

CredentialsSpec WithPolicy(const std::string& name, PolicySpec policy) {
  CredentialsSpec spec = Credentials({name}, {KeyKind::kP256});
  spec.policy = std::move(policy);
  return spec;
}

// A handshake, and the ticket that comes with it or after it.
SslSessionPtr TicketOf(TlsClient& client, Worker& worker) {
  if (!client.Handshake() || !client.Write("x")) return nullptr;
  const auto plain = worker.Next();
  if (!plain) return nullptr;
  SendAll(plain->fd.get(), "y");
  EXPECT_EQ(client.ReadExactly(1), "y");
  client.CloseNotify();
  return client.session();
}

// ---- the policy of the name, where the listener's first credentials have another
// ------------------------------

TEST(Policy, OfTheNameAllowsVersionsThatTheDefaultRefuses) {
  PolicySpec modern = DefaultPolicy();
  modern.min_version = k13;
  Front front(
      {.credentials = {WithPolicy("modern.example", modern), WithPolicy("one.example", DefaultPolicy())}});
  TlsClient refused(front.port(), {.version = k12, .server_name = "modern.example"});
  TlsClient allowed(front.port(), {.version = k12, .server_name = "one.example"});

  EXPECT_FALSE(refused.Handshake());
  EXPECT_EQ(refused.alert(), SSL_AD_PROTOCOL_VERSION);
  EXPECT_TRUE(allowed.Handshake());
}

TEST(Policy, OfTheNameRefusesVersionsThatTheDefaultAllows) {
  PolicySpec modern = DefaultPolicy();
  modern.min_version = k13;
  PolicySpec old = DefaultPolicy();
  old.max_version = k12;
  Front front({.credentials = {WithPolicy("one.example", DefaultPolicy()),
                               WithPolicy("modern.example", modern), WithPolicy("old.example", old)}});
  TlsClient refused(front.port(), {.version = k12, .server_name = "modern.example"});
  TlsClient too_new(front.port(), {.version = k13, .server_name = "old.example"});
  TlsClient both(front.port(), {.server_name = "old.example"});

  EXPECT_FALSE(refused.Handshake());
  EXPECT_EQ(refused.alert(), SSL_AD_PROTOCOL_VERSION);
  EXPECT_FALSE(too_new.Handshake());
  EXPECT_EQ(too_new.alert(), SSL_AD_PROTOCOL_VERSION);
  ASSERT_TRUE(both.Handshake());
  EXPECT_EQ(SSL_version(both.ssl()), k12);
}

TEST(Policy, OfTheNameChoosesGroupsAndSuites) {
  PolicySpec special = DefaultPolicy();
  special.groups = "P-384";
  special.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384";
  special.ciphersuites = "TLS_CHACHA20_POLY1305_SHA256";
  Front front(
      {.credentials = {WithPolicy("one.example", DefaultPolicy()), WithPolicy("special.example", special)}});

  for (const int version : {k12, k13}) {
    TlsClient usual(front.port(), {.version = version, .server_name = "one.example"});
    TlsClient other(front.port(), {.version = version, .server_name = "special.example"});
    ASSERT_TRUE(usual.Handshake());
    ASSERT_TRUE(other.Handshake());
    EXPECT_EQ(SSL_get_negotiated_group(usual.ssl()), NID_X25519);
    EXPECT_EQ(SSL_get_negotiated_group(other.ssl()), NID_secp384r1);
    EXPECT_STREQ(SSL_get_cipher_name(other.ssl()),
                 version == k12 ? "ECDHE-ECDSA-AES256-GCM-SHA384" : "TLS_CHACHA20_POLY1305_SHA256");
  }
}

class TicketPolicy : public testing::TestWithParam<int> {};

TEST_P(TicketPolicy, OfTheNameSetsTheLifetime) {
  PolicySpec brief = DefaultPolicy();
  brief.ticket_lifetime_s = 60;
  Front front(
      {.credentials = {WithPolicy("one.example", DefaultPolicy()), WithPolicy("brief.example", brief)}});
  Worker worker(front);
  TlsClient usual(front.port(), {.version = GetParam(), .server_name = "one.example"});
  TlsClient other(front.port(), {.version = GetParam(), .server_name = "brief.example"});
  const SslSessionPtr usual_ticket = TicketOf(usual, worker);
  const SslSessionPtr brief_ticket = TicketOf(other, worker);

  ASSERT_NE(usual_ticket, nullptr);
  ASSERT_NE(brief_ticket, nullptr);
  EXPECT_EQ(SSL_SESSION_get_ticket_lifetime_hint(usual_ticket.get()), 3600U);
  EXPECT_EQ(SSL_SESSION_get_ticket_lifetime_hint(brief_ticket.get()), 60U);
}

TEST_P(TicketPolicy, OfTheNameTurnsResumptionOffAndOn) {
  PolicySpec none = DefaultPolicy();
  none.tickets = 0;
  for (const bool default_has_tickets : {true, false}) {
    CredentialsSpec with = WithPolicy("with.example", DefaultPolicy());
    CredentialsSpec without = WithPolicy("without.example", none);
    Front front(
        {.credentials = default_has_tickets ? std::vector{with, without} : std::vector{without, with}});
    Worker worker(front);
    TlsClient resumable(front.port(), {.version = GetParam(), .server_name = "with.example"});
    TlsClient once(front.port(), {.version = GetParam(), .server_name = "without.example"});

    EXPECT_NE(TicketOf(resumable, worker), nullptr);
    EXPECT_EQ(TicketOf(once, worker), nullptr);
  }
}

TEST_P(TicketPolicy, OfAnotherSetOfSuitesDoesNotTakeTheTicket) {
  Front front;
  Worker worker(front);
  TlsClient first(front.port(), {.version = GetParam()});
  const SslSessionPtr ticket = TicketOf(first, worker);
  ASSERT_NE(ticket, nullptr);
  PolicySpec narrow = DefaultPolicy();
  narrow.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384";
  narrow.ciphersuites = "TLS_AES_256_GCM_SHA384";
  const auto swapped = front.terminator().SetCredentials(Endpoints({WithPolicy("one.example", narrow)}));
  ASSERT_TRUE(std::holds_alternative<std::monostate>(swapped));

  TlsClient second(front.port(), {.version = GetParam(), .session = ticket.get()});

  ASSERT_TRUE(second.Handshake());
  EXPECT_FALSE(second.resumed());
  EXPECT_STREQ(SSL_get_cipher_name(second.ssl()),
               GetParam() == k12 ? "ECDHE-ECDSA-AES256-GCM-SHA384" : "TLS_AES_256_GCM_SHA384");
}

INSTANTIATE_TEST_SUITE_P(Tls, TicketPolicy, testing::Values(k12, k13),
                         [](const auto& info) { return info.param == k12 ? "tls12" : "tls13"; });

TEST(Policy, WithAWordThatOpensslDoesNotKnowChangesNothing) {
  Front front;
  const auto refusal = [&](PolicySpec policy) {
    const auto set = front.terminator().SetCredentials(Endpoints({WithPolicy("one.example", policy)}));
    const auto* failure = std::get_if<OpensslFailure>(&set);
    return failure == nullptr ? std::string() : failure->message;
  };
  PolicySpec groups = DefaultPolicy();
  groups.groups = "X25519:P-999";
  PolicySpec ciphers = DefaultPolicy();
  ciphers.ciphers = "NOTHING";
  PolicySpec suites = DefaultPolicy();
  suites.ciphersuites = "TLS_NOTHING";

  EXPECT_EQ(refusal(groups), "OpenSSL refuses the groups X25519:P-999");
  EXPECT_EQ(refusal(ciphers), "OpenSSL refuses the cipher list NOTHING");
  EXPECT_EQ(refusal(suites), "OpenSSL refuses the cipher suites TLS_NOTHING");
  TlsClient client(front.port());
  EXPECT_TRUE(client.Handshake());
}

// ---- keys that can sign TLS 1.2 only
// --------------------------------------------------------------------------

TEST(Policy, SpeaksTls12ToAClientThatCanVerifyOnlyTheKeyWithoutPss) {
  CredentialsSpec spec = Credentials({"one.example"}, {KeyKind::kP256, KeyKind::kRsa2048});
  spec.signature_schemes = "ecdsa_secp256r1_sha256:rsa_pkcs1_sha256";
  spec.tls13_schemes = {0x0403};
  Front front({.credentials = {spec}});
  TlsClient rsa(front.port(), {.signature_schemes = "rsa_pss_rsae_sha256:rsa_pkcs1_sha256"});
  TlsClient ecdsa(front.port(), {.signature_schemes = "rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256"});
  TlsClient neither(front.port(), {.signature_schemes = "ed25519"});

  ASSERT_TRUE(rsa.Handshake());
  EXPECT_EQ(SSL_version(rsa.ssl()), k12);
  EXPECT_EQ(rsa.peer_key_type(), EVP_PKEY_RSA);
  ASSERT_TRUE(ecdsa.Handshake());
  EXPECT_EQ(SSL_version(ecdsa.ssl()), k13);
  EXPECT_EQ(ecdsa.peer_key_type(), EVP_PKEY_EC);
  EXPECT_FALSE(neither.Handshake());
  EXPECT_EQ(neither.alert(), SSL_AD_HANDSHAKE_FAILURE);
}

// ---- names that nobody has
// ------------------------------------------------------------------------------------

TEST(UnknownName, IsRefusedWithUnrecognizedNameWhereTheListenerSaysSo) {
  Front front({.endpoints = Endpoints({Credentials({"one.example"}, {KeyKind::kP256})}, true)});
  TlsClient unknown(front.port(), {.server_name = "other.example"});

  EXPECT_FALSE(unknown.Handshake());

  EXPECT_EQ(unknown.alert(), SSL_AD_UNRECOGNIZED_NAME);
  const auto failed = front.Next<HandshakeFailed>();
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->reason, "unrecognized name");
  EXPECT_EQ(failed->server_name, "other.example");
  EXPECT_EQ(front.signatures_requested(), 0U);
}

TEST(UnknownName, IsNotAMissingName) {
  Front front({.endpoints = Endpoints({Credentials({"one.example"}, {KeyKind::kP256})}, true)});
  TlsClient nameless(front.port(), {.server_name = ""});
  TlsClient known(front.port(), {.server_name = "One.Example."});

  EXPECT_TRUE(nameless.Handshake());
  EXPECT_TRUE(known.Handshake());
}

TEST(Endpoint, ThatDoesNotExistForAListenerRefusesItsConnections) {
  Front front;
  std::vector<EndpointSpec> others = Endpoints({Credentials({"one.example"}, {KeyKind::kP256})});
  others[0].listener_ids = {Front::kListenerId + 1};
  const auto swapped = front.terminator().SetCredentials(others);
  ASSERT_TRUE(std::holds_alternative<std::monostate>(swapped));
  TlsClient client(front.port());

  EXPECT_FALSE(client.Handshake());

  EXPECT_TRUE(front.Next<HandshakeFailed>());
}

// ---- key log
// --------------------------------------------------------------------------------------------------

TEST(KeyLog, HasTheClientRandomOfAConnection) {
  const std::unique_ptr<FILE, Deleter<fclose>> file(std::tmpfile());
  ASSERT_NE(file, nullptr);
  Front front({.key_log_fd = fileno(file.get())});
  TlsClient client(front.port(), {.version = k12});
  ASSERT_TRUE(client.Handshake());

  std::array<unsigned char, SSL3_RANDOM_SIZE> random{};
  ASSERT_EQ(SSL_get_client_random(client.ssl(), random.data(), random.size()), random.size());
  std::string expected = "CLIENT_RANDOM ";
  for (const unsigned char byte : random) {
    std::array<char, 3> hex{};
    (void)std::snprintf(hex.data(), hex.size(), "%02x", byte);
    expected += hex.data();
  }
  std::string line(512, '\0');
  ASSERT_TRUE(Eventually([&] { return pread(fileno(file.get()), line.data(), line.size(), 0) > 0; }));
  EXPECT_TRUE(line.starts_with(expected)) << line;
}

}  // namespace
}  // namespace sealgate::test
