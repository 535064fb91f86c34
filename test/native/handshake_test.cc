// SPDX-License-Identifier: Apache-2.0
// Full handshakes with OpenSSL's own client: it verifies every signature that our provider brought from
// elsewhere.
#include <gtest/gtest.h>
#include <openssl/tls1.h>

#include "support/front.h"
#include "support/tls_client.h"

namespace sealgate::test {
namespace {

struct Row {
  const char* name;
  int version;
  KeyKind kind;
  const char* schemes;  // what the client accepts
  uint16_t asked;       // the scheme that the signer must be asked for
};

void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

class SchemeOf : public testing::TestWithParam<Row> {};

TEST_P(SchemeOf, TheClientsSignatureAlgorithmsChooseTheScheme) {
  const Row& row = GetParam();
  // OpenSSL has one place for an EC certificate in a context, whatever its curve.
  const KeyKind curve =
      EVP_PKEY_get_id(KeyPairOf(row.kind).key.get()) == EVP_PKEY_EC ? row.kind : KeyKind::kP256;
  Front front({.credentials = {Credentials({"one.example"}, {curve, KeyKind::kRsa2048, KeyKind::kEd25519})}});
  front.SetAnswer(Answer::kHold);
  TlsClient client(front.port(), {.version = row.version, .signature_schemes = row.schemes});
  std::thread signer([&] {
    const auto request = front.held.Take();
    ASSERT_TRUE(request);
    EXPECT_EQ(request->scheme, row.asked);
    EXPECT_EQ(request->key_id, static_cast<uint32_t>(row.kind));
    EXPECT_EQ(request->server_name, "one.example");
    EXPECT_EQ(request->peer, "127.0.0.1");
    Front::Sign(*request);
  });

  const bool done = client.Handshake();
  signer.join();

  ASSERT_TRUE(done);
  EXPECT_EQ(SSL_version(client.ssl()), row.version);
  EXPECT_EQ(client.peer_key_type(), EVP_PKEY_get_id(KeyPairOf(row.kind).key.get()));
  EXPECT_TRUE(Eventually([&] { return front.handshakes(false) == 1; }));
  EXPECT_EQ(front.signatures_requested(), 1U);
  EXPECT_EQ(front.signatures_pending(), 0);
}

constexpr int k12 = TLS1_2_VERSION;
constexpr int k13 = TLS1_3_VERSION;
INSTANTIATE_TEST_SUITE_P(
    Tls, SchemeOf,
    testing::Values(Row{"tls13_pss_sha256", k13, KeyKind::kRsa2048, "rsa_pss_rsae_sha256", 0x0804},
                    Row{"tls13_pss_sha384", k13, KeyKind::kRsa2048, "rsa_pss_rsae_sha384", 0x0805},
                    Row{"tls13_pss_sha512", k13, KeyKind::kRsa2048, "rsa_pss_rsae_sha512", 0x0806},
                    Row{"tls13_p256", k13, KeyKind::kP256, "ecdsa_secp256r1_sha256", 0x0403},
                    Row{"tls13_p384", k13, KeyKind::kP384, "ecdsa_secp384r1_sha384", 0x0503},
                    Row{"tls13_p521", k13, KeyKind::kP521, "ecdsa_secp521r1_sha512", 0x0603},
                    Row{"tls13_ed25519", k13, KeyKind::kEd25519, "ed25519", 0x0807},
                    Row{"tls12_pss_sha256", k12, KeyKind::kRsa2048, "rsa_pss_rsae_sha256", 0x0804},
                    Row{"tls12_pkcs1_sha256", k12, KeyKind::kRsa2048, "rsa_pkcs1_sha256", 0x0401},
                    Row{"tls12_pkcs1_sha384", k12, KeyKind::kRsa2048, "rsa_pkcs1_sha384", 0x0501},
                    Row{"tls12_pkcs1_sha512", k12, KeyKind::kRsa2048, "rsa_pkcs1_sha512", 0x0601},
                    Row{"tls12_p256", k12, KeyKind::kP256, "ecdsa_secp256r1_sha256", 0x0403},
                    Row{"tls12_p256_sha224", k12, KeyKind::kP256, "ECDSA+SHA224", 0x0303},
                    Row{"tls12_p384", k12, KeyKind::kP384, "ecdsa_secp384r1_sha384", 0x0503},
                    Row{"tls12_p521", k12, KeyKind::kP521, "ecdsa_secp521r1_sha512", 0x0603},
                    Row{"tls12_ed25519", k12, KeyKind::kEd25519, "ed25519", 0x0807}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Handshake, FailsWhenTheClientAcceptsNoSchemeOfTheCredentials) {
  Front front;
  TlsClient client(front.port(), {.signature_schemes = "rsa_pss_rsae_sha256"});

  EXPECT_FALSE(client.Handshake());

  EXPECT_EQ(client.alert(), SSL_AD_HANDSHAKE_FAILURE);
  const auto failed = front.Next<HandshakeFailed>();
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->server_name, "one.example");
  EXPECT_EQ(front.signatures_requested(), 0U);
}

TEST(Handshake, IsNotSignedWithSha224InTls13) {
  Front front;
  // Alone, OpenSSL's client does not even ask for it.
  TlsClient client(front.port(),
                   {.version = k13, .signature_schemes = "ECDSA+SHA224:ecdsa_secp384r1_sha384"});

  EXPECT_FALSE(client.Handshake());

  EXPECT_EQ(client.alert(), SSL_AD_HANDSHAKE_FAILURE);
  EXPECT_EQ(front.signatures_requested(), 0U);
}

TEST(Handshake, RefusesVersionsBelowTls12) {
  Front front;
  TlsClient client(front.port(), {.version = TLS1_1_VERSION});
  SSL_set_security_level(client.ssl(), 0);  // else OpenSSL's client refuses by itself

  EXPECT_FALSE(client.Handshake());

  EXPECT_EQ(client.alert(), SSL_AD_PROTOCOL_VERSION);
  const auto failed = front.Next<HandshakeFailed>();
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->server_name, "one.example");  // though OpenSSL has not looked at it
}

// ---- which credentials ------------------------------------------------------------------------------------

struct NameRow {
  const char* name;
  int expected_key_type;
};

class NameOf : public testing::TestWithParam<NameRow> {};

TEST_P(NameOf, ChoosesTheCredentials) {
  Front front({.credentials = {Credentials({"one.example"}, {KeyKind::kP256}),
                               Credentials({"*.wild.example"}, {KeyKind::kRsa2048}),
                               Credentials({"exact.wild.example"}, {KeyKind::kEd25519})}});
  TlsClient client(front.port(), {.server_name = GetParam().name});

  ASSERT_TRUE(client.Handshake());
  EXPECT_EQ(client.peer_key_type(), GetParam().expected_key_type);
}

INSTANTIATE_TEST_SUITE_P(ServerName, NameOf,
                         testing::Values(NameRow{"one.example", EVP_PKEY_EC},       // exact
                                         NameRow{"ONE.example", EVP_PKEY_EC},       // case does not matter
                                         NameRow{"one.example.", EVP_PKEY_EC},      // nor does the root's dot
                                         NameRow{"a.wild.example", EVP_PKEY_RSA},   // one label
                                         NameRow{"a.b.wild.example", EVP_PKEY_EC},  // two: the default
                                         NameRow{"wild.example", EVP_PKEY_EC},      // none: the default
                                         NameRow{"exact.wild.example",
                                                 EVP_PKEY_ED25519},                // exact before wildcard
                                         NameRow{"unknown.example", EVP_PKEY_EC},  // the default
                                         NameRow{"", EVP_PKEY_EC}));               // no name: the default

TEST(Credentials, AreSwappedWhileAHandshakeUnderWayKeepsItsOwn) {
  Front front;
  front.SetAnswer(Answer::kHold);
  TlsClient old_one(front.port());
  old_one.BeginHandshake();
  const auto request = front.held.Take();
  ASSERT_TRUE(request);

  const auto swapped =
      front.terminator().SetCredentials(Endpoints({Credentials({"one.example"}, {KeyKind::kRsa2048})}));
  ASSERT_TRUE(std::holds_alternative<std::monostate>(swapped));
  front.SetAnswer(Answer::kSign);
  TlsClient new_one(front.port());
  ASSERT_TRUE(new_one.Handshake());
  Front::Sign(*request);
  ASSERT_TRUE(old_one.Handshake());

  EXPECT_EQ(old_one.peer_key_type(), EVP_PKEY_EC);
  EXPECT_EQ(new_one.peer_key_type(), EVP_PKEY_RSA);
}

TEST(Credentials, ThatOpensslRefusesLeaveTheOldOnesInPlace) {
  Front front;
  CredentialsSpec bad = Credentials({"one.example"}, {KeyKind::kRsa2048});
  bad.certificates[0].chain[0].resize(40);

  const auto result = front.terminator().SetCredentials(Endpoints({bad}));

  ASSERT_TRUE(std::holds_alternative<OpensslFailure>(result));
  EXPECT_NE(std::get<OpensslFailure>(result).message.find("one.example"), std::string::npos);
  EXPECT_FALSE(std::get<OpensslFailure>(result).openssl_errors.empty());
  TlsClient client(front.port());
  EXPECT_TRUE(client.Handshake());
}

// ---- ALPN -------------------------------------------------------------------------------------------------

TEST(Alpn, IsLeftOutWhenTheClientDoesNotSpeakIt) {
  Front front({.alpn = {"h2", "http/1.1"}});
  TlsClient client(front.port());

  ASSERT_TRUE(client.Handshake());
  EXPECT_EQ(client.alpn(), "");
}

TEST(Alpn, TakesTheServersFirstChoiceOfWhatTheClientOffers) {
  Front front({.alpn = {"h2", "http/1.1"}});
  TlsClient both(front.port(), {.alpn = {"http/1.1", "h2"}});
  ASSERT_TRUE(both.Handshake());
  EXPECT_EQ(both.alpn(), "h2");

  TlsClient old_one(front.port(), {.alpn = {"spdy/3", "http/1.1"}});
  ASSERT_TRUE(old_one.Handshake());
  EXPECT_EQ(old_one.alpn(), "http/1.1");
}

TEST(Alpn, WithNothingInCommonEndsInNoApplicationProtocol) {
  Front front({.alpn = {"h2", "http/1.1"}});
  TlsClient client(front.port(), {.alpn = {"mqtt"}});

  EXPECT_FALSE(client.Handshake());

  EXPECT_EQ(client.alert(), SSL_AD_NO_APPLICATION_PROTOCOL);
  EXPECT_TRUE(front.Next<HandshakeFailed>());
}

// ---- its duration ---------------------------------------------------------------------------------------

// Browsers connect ahead, and so do balancers.
TEST(HandshakeTime, CountsFromTheFirstByteOfTheClientHello) {
  constexpr std::chrono::milliseconds kSilence{1000};
  for (const bool balancer : {false, true}) {
    Front::Options options;
    if (balancer) options.proxy_networks = {*Network::Parse("127.0.0.0", 8)};
    Front front(options);
    TlsClient client(front.port(),
                     {.preface = balancer ? "PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n" : ""});

    std::this_thread::sleep_for(kSilence);
    ASSERT_TRUE(client.Handshake());

    ASSERT_TRUE(Eventually([&] { return front.handshakes(false) == 1; }));
    EXPECT_TRUE(Eventually([&] { return front.handshake_time().count() > 0; }));
    EXPECT_LT(front.handshake_time(), kSilence);
  }
}

// ---- renegotiation ----------------------------------------------------------------------------------------

TEST(Renegotiation, IsRefusedAndTheConnectionGoesOn) {
  Front front;
  Worker worker(front);
  TlsClient client(front.port(), {.version = k12});
  ASSERT_TRUE(client.Handshake());
  ASSERT_TRUE(client.Write("before"));
  const auto plain = worker.Next();
  ASSERT_TRUE(plain);
  EXPECT_EQ(ReadExactly(plain->fd.get(), 6), "before");

  SSL_renegotiate(client.ssl());
  EXPECT_FALSE(client.Handshake());

  EXPECT_EQ(client.alert(), SSL_AD_NO_RENEGOTIATION);
  EXPECT_EQ(front.signatures_requested(), 1U);
  EXPECT_EQ(front.handshakes(false), 1U);
}

}  // namespace
}  // namespace sealgate::test
