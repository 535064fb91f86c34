// SPDX-License-Identifier: Apache-2.0
// Which OCSP response a client gets with its certificate, and when it gets none.
#include <gtest/gtest.h>

#include <atomic>
#include <ctime>
#include <string>

#include "staples.h"
#include "support/eventually.h"
#include "support/front.h"
#include "support/tls_client.h"

namespace sealgate::test {
namespace {

Fingerprint FingerprintOfKind(KeyKind kind) {
  const Bytes& der = KeyPairOf(kind).certificate;
  const unsigned char* cursor = der.data();
  const X509Ptr certificate(d2i_X509(nullptr, &cursor, static_cast<long>(der.size())));
  return FingerprintOf(certificate.get());
}

// TLS passes it on as it is; that it is a real one is for others to see to.
StapleSpec Staple(KeyKind kind, const std::string& response, long ends_s = 3600) {
  return {.certificate = FingerprintOfKind(kind),
          .response = Bytes(response.begin(), response.end()),
          .ends_s = std::time(nullptr) + ends_s};
}

// What a client that asks is given; "none" without, "failed" when the handshake fails.
std::string Given(uint16_t port, TlsClient::Options options, int* alert = nullptr) {
  TlsClient client(port, options);
  SSL_set_tlsext_status_type(client.ssl(), TLSEXT_STATUSTYPE_ocsp);
  const bool done = client.Handshake();
  if (alert != nullptr) *alert = client.alert();
  if (!done) return "failed";
  const unsigned char* response = nullptr;
  const long size = SSL_get_tlsext_status_ocsp_resp(client.ssl(), &response);
  return size < 0 ? "none" : std::string(reinterpret_cast<const char*>(response), static_cast<size_t>(size));
}

class Stapling : public testing::TestWithParam<int> {
 protected:
  [[nodiscard]] static Front::Options TwoKeys() {
    return {.credentials = {Credentials({"one.example"}, {KeyKind::kP256, KeyKind::kRsa2048}),
                            Credentials({"two.example"}, {KeyKind::kP384})}};
  }
  [[nodiscard]] static std::string Asks(Front& front, const std::string& name = "one.example",
                                        const std::string& schemes = {}) {
    return Given(front.port(), {.version = GetParam(), .server_name = name, .signature_schemes = schemes});
  }
};

TEST_P(Stapling, GivesTheResponseOfTheCertificateThatWasChosen) {
  Front front(TwoKeys());
  front.terminator().SetStaples(
      {Staple(KeyKind::kP256, "ecdsa"), Staple(KeyKind::kRsa2048, "rsa"), Staple(KeyKind::kP384, "two")});

  EXPECT_EQ(Asks(front), "ecdsa");
  EXPECT_EQ(Asks(front, "one.example", "rsa_pss_rsae_sha256"), "rsa");
  EXPECT_EQ(Asks(front, "two.example"), "two");
}

TEST_P(Stapling, GivesNothingToWhoDoesNotAsk) {
  Front front;
  front.terminator().SetStaples({Staple(KeyKind::kP256, "ecdsa")});
  TlsClient client(front.port(), {.version = GetParam()});

  ASSERT_TRUE(client.Handshake());

  const unsigned char* response = nullptr;
  EXPECT_EQ(SSL_get_tlsext_status_ocsp_resp(client.ssl(), &response), -1);
}

TEST_P(Stapling, GivesNothingForACertificateWithout) {
  Front front(TwoKeys());
  EXPECT_EQ(Asks(front), "none");  // nobody has given any

  front.terminator().SetStaples({Staple(KeyKind::kRsa2048, "rsa")});

  EXPECT_EQ(Asks(front), "none");
  EXPECT_EQ(Asks(front, "two.example"), "none");
}

TEST_P(Stapling, EndsWithTheResponseThoughNobodyTakesItBack) {
  Front front;
  front.terminator().SetStaples({Staple(KeyKind::kP256, "ecdsa", 2)});
  EXPECT_EQ(Asks(front), "ecdsa");

  EXPECT_TRUE(Eventually([&] { return Asks(front) == "none"; }));
}

TEST_P(Stapling, OfAResponseThatHasEndedDoesNotBegin) {
  Front front;
  front.terminator().SetStaples({Staple(KeyKind::kP256, "ecdsa", 0)});

  EXPECT_EQ(Asks(front), "none");
}

TEST_P(Stapling, ChangesAndEndsWithTheNextHandshake) {
  Front front;
  front.terminator().SetStaples({Staple(KeyKind::kP256, "first")});
  EXPECT_EQ(Asks(front), "first");
  front.terminator().SetStaples({Staple(KeyKind::kP256, "second")});
  EXPECT_EQ(Asks(front), "second");
  front.terminator().SetStaples({});
  EXPECT_EQ(Asks(front), "none");
}

TEST_P(Stapling, SurvivesAChangeOfCredentials) {
  Front front;
  front.terminator().SetStaples({Staple(KeyKind::kP256, "ecdsa")});
  const auto set = front.terminator().SetCredentials(
      Endpoints({Credentials({"one.example"}, {KeyKind::kP384, KeyKind::kP256})}));
  ASSERT_TRUE(std::holds_alternative<std::monostate>(set));
  const auto again =
      front.terminator().SetCredentials(Endpoints({Credentials({"one.example"}, {KeyKind::kP256})}));
  ASSERT_TRUE(std::holds_alternative<std::monostate>(again));

  EXPECT_EQ(Asks(front), "ecdsa");
}

TEST_P(Stapling, WhereItIsRequiredFailsTheHandshakesOfThoseWhoAsk) {
  Front front;
  front.terminator().SetStaples({{.certificate = FingerprintOfKind(KeyKind::kP256), .required = true}});
  int alert = -1;

  EXPECT_EQ(Given(front.port(), {.version = GetParam()}, &alert), "failed");

  EXPECT_EQ(alert, SSL_AD_INTERNAL_ERROR);
  const auto failed = front.Next<HandshakeFailed>();
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->reason, "no OCSP response to staple");
  EXPECT_EQ(front.signatures_requested(), 0U);  // the HSM is not asked for nothing
  TlsClient indifferent(front.port(), {.version = GetParam()});
  EXPECT_TRUE(indifferent.Handshake());
}

TEST_P(Stapling, IsOneOrTheOtherWhileResponsesAreSwapped) {
  Front front({.threads = 2});
  const std::string first(1500, 'a');
  const std::string second(900, 'b');
  front.terminator().SetStaples({Staple(KeyKind::kP256, first)});
  std::atomic<bool> stop{false};
  std::thread clients([&] {
    for (int i = 0; i < 40; ++i) {
      const std::string given = Asks(front);
      EXPECT_TRUE(given == first || given == second) << given.substr(0, 20);
    }
    stop = true;
  });

  for (int i = 0; !stop; ++i) {
    front.terminator().SetStaples({Staple(KeyKind::kP256, i % 2 == 0 ? second : first)});
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  clients.join();
}

TEST_P(Stapling, OfAClientThatLeavesWhileItsSignatureIsMadeLeaksNothing) {
  Front front;
  front.SetAnswer(Answer::kHold);
  front.terminator().SetStaples({Staple(KeyKind::kP256, std::string(4000, 's'))});
  for (int i = 0; i < 5; ++i) {
    TlsClient client(front.port(), {.version = GetParam()});
    SSL_set_tlsext_status_type(client.ssl(), TLSEXT_STATUSTYPE_ocsp);
    client.BeginHandshake();
    const auto request = front.held.Take();
    ASSERT_TRUE(request);
    client.Reset();
    EXPECT_TRUE(Eventually([&] { return front.open_connections() == 0; }));
    Front::Sign(*request);
  }
}

INSTANTIATE_TEST_SUITE_P(Version, Stapling, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& info) {
                           return info.param == TLS1_3_VERSION ? std::string("tls13") : std::string("tls12");
                         });

}  // namespace
}  // namespace sealgate::test
