// SPDX-License-Identifier: Apache-2.0
// Which OCSP responses are believed, and what is understood of them.
#include "ocsp.h"

#include <gtest/gtest.h>

#include <ctime>

#include "peer_certificate.h"
#include "support/ocsp_answer.h"

namespace sealgate::test {
namespace {

using Reading = std::variant<OcspStatus, OcspRefusal>;

class Ocsp : public testing::Test {
 protected:
  Authority root_{"root"};
  Authority issuer_{"issuer", &root_};
  Identity leaf_ = issuer_.Issue(
      {.subject = "leaf", .usage = "serverAuth", .responder = "http://ocsp.example/a", .must_staple = true});

  [[nodiscard]] static std::unique_ptr<OcspSubject> Subject(const Identity& leaf,
                                                            const std::optional<Bytes>& issuer) {
    auto created = OcspSubject::Create(ToDer(leaf.certificate.get()), issuer);
    auto* subject = std::get_if<std::unique_ptr<OcspSubject>>(&created);
    return subject == nullptr ? nullptr : std::move(*subject);
  }
  [[nodiscard]] Reading Read(const Bytes& answer) const {
    return Subject(leaf_, issuer_.der())->Read(answer);
  }
  [[nodiscard]] Bytes AnswerFor(const Identity& leaf, const OcspAnswer& answer = {}) const {
    return Answer(issuer_, leaf.certificate.get(), answer);
  }
};

std::string Said(const Reading& reading) {
  if (const auto* status = std::get_if<OcspStatus>(&reading)) return status->status;
  return std::get<OcspRefusal>(reading).reason;
}

TEST_F(Ocsp, ReadsWhatACertificateSaysOfItsStatus) {
  const auto subject = Subject(leaf_, std::nullopt);

  ASSERT_NE(subject, nullptr);
  EXPECT_EQ(subject->Responders(), std::vector<std::string>{"http://ocsp.example/a"});
  EXPECT_TRUE(subject->MustStaple());
  EXPECT_EQ(subject->fingerprint(), FingerprintOf(leaf_.certificate.get()));
}

TEST_F(Ocsp, ReadsOfACertificateThatSaysNothing) {
  const Identity plain = issuer_.Issue();
  const auto subject = Subject(plain, issuer_.der());

  ASSERT_NE(subject, nullptr);
  EXPECT_TRUE(subject->Responders().empty());
  EXPECT_FALSE(subject->MustStaple());
}

TEST_F(Ocsp, AsksForOneCertificateWithoutANonce) {
  const Bytes der = Subject(leaf_, issuer_.der())->request();
  const unsigned char* cursor = der.data();
  OCSP_REQUEST* request = d2i_OCSP_REQUEST(nullptr, &cursor, static_cast<long>(der.size()));

  ASSERT_NE(request, nullptr);
  EXPECT_EQ(OCSP_request_onereq_count(request), 1);
  OCSP_CERTID* id = OCSP_onereq_get0_id(OCSP_request_onereq_get0(request, 0));
  OCSP_CERTID* ours = OCSP_cert_to_id(EVP_sha1(), leaf_.certificate.get(), issuer_.certificate());
  EXPECT_EQ(OCSP_id_cmp(id, ours), 0);
  EXPECT_EQ(OCSP_REQUEST_get_ext_count(request), 0);
  OCSP_CERTID_free(ours);
  OCSP_REQUEST_free(request);
}

TEST_F(Ocsp, WithoutAnIssuerAsksForNothingAndBelievesNobody) {
  const auto subject = Subject(leaf_, std::nullopt);

  EXPECT_TRUE(subject->request().empty());
  EXPECT_EQ(Said(subject->Read(AnswerFor(leaf_))), "no-issuer");
}

TEST_F(Ocsp, RefusesBytesThatAreNoCertificate) {
  const auto leaf = OcspSubject::Create({1, 2, 3}, std::nullopt);
  const auto issuer = OcspSubject::Create(ToDer(leaf_.certificate.get()), Bytes{});

  EXPECT_TRUE(std::holds_alternative<OpensslFailure>(leaf));
  EXPECT_TRUE(std::holds_alternative<OpensslFailure>(issuer));
}

// ---- answers that are believed
// ------------------------------------------------------------------------------

TEST_F(Ocsp, BelievesTheIssuer) {
  const auto reading = Read(AnswerFor(leaf_, {.this_update_s = -60, .next_update_s = 3600}));

  ASSERT_EQ(Said(reading), "good");
  const auto& status = std::get<OcspStatus>(reading);
  const auto now = static_cast<double>(std::time(nullptr));
  EXPECT_NEAR(static_cast<double>(status.this_update_s), now - 60, 5);
  EXPECT_NEAR(static_cast<double>(status.next_update_s), now + 3600, 5);
  EXPECT_EQ(status.revoked_s, 0);
  EXPECT_EQ(status.revoked_reason, "");
}

TEST_F(Ocsp, BelievesAResponderThatTheIssuerNames) {
  const Identity delegate =
      issuer_.Issue({.subject = "responder", .usage = "OCSPSigning", .not_after_s = 7200});

  const auto reading = Read(AnswerFor(leaf_, {.delegate = &delegate}));

  ASSERT_EQ(Said(reading), "good");
  EXPECT_NEAR(static_cast<double>(std::get<OcspStatus>(reading).signer_ends_s),
              static_cast<double>(std::time(nullptr)) + 7200, 5);
}

TEST_F(Ocsp, BelievesACaThatIsItsOwnRoot) {
  const Identity leaf = root_.Issue();
  const Bytes answer = Answer(root_, leaf.certificate.get());

  EXPECT_EQ(Said(Subject(leaf, root_.der())->Read(answer)), "good");
}

TEST_F(Ocsp, UnderstandsAnswersWhoseNamesAreHashedOtherwise) {
  EXPECT_EQ(Said(Read(AnswerFor(leaf_, {.id_hash = EVP_sha256()}))), "good");
  EXPECT_EQ(Said(Read(AnswerFor(leaf_, {.id_hash = EVP_sha384()}))), "good");
}

TEST_F(Ocsp, LeavesAnUnsaidNextUpdateOut) {
  const auto reading = Read(AnswerFor(leaf_, {.next_update_s = std::nullopt}));

  ASSERT_EQ(Said(reading), "good");
  EXPECT_EQ(std::get<OcspStatus>(reading).next_update_s, 0);
}

TEST_F(Ocsp, TellsWhenAndWhyACertificateWasRevoked) {
  const auto reading = Read(AnswerFor(leaf_, {.status = V_OCSP_CERTSTATUS_REVOKED}));

  ASSERT_EQ(Said(reading), "revoked");
  const auto& status = std::get<OcspStatus>(reading);
  EXPECT_NEAR(static_cast<double>(status.revoked_s), static_cast<double>(std::time(nullptr)) - 1800, 5);
  EXPECT_EQ(status.revoked_reason, "keyCompromise");
}

TEST_F(Ocsp, TellsThatAResponderDoesNotKnowTheCertificate) {
  EXPECT_EQ(Said(Read(AnswerFor(leaf_, {.status = V_OCSP_CERTSTATUS_UNKNOWN}))), "unknown");
}

// ---- answers that are not
// -----------------------------------------------------------------------------------

TEST_F(Ocsp, RefusesAnAnswerForAnotherCertificate) {
  const Identity other = issuer_.Issue();

  EXPECT_EQ(Said(Read(AnswerFor(other))), "other-certificate");
}

TEST_F(Ocsp, RefusesAnAnswerForTheSameSerialOfAnotherIssuer) {
  const Authority stranger("issuer");  // the name alone is not enough

  EXPECT_EQ(Said(Read(Answer(stranger, leaf_.certificate.get()))), "other-certificate");
}

TEST_F(Ocsp, RefusesASignerWithoutTheTask) {
  const Identity sibling = issuer_.Issue({.subject = "sibling", .usage = "serverAuth"});

  EXPECT_EQ(Said(Read(AnswerFor(leaf_, {.delegate = &sibling}))), "signature");
}

TEST_F(Ocsp, RefusesASignerWithoutTheTaskUnderASelfSignedRoot) {
  const Identity leaf = root_.Issue();
  const Identity sibling = root_.Issue({.subject = "sibling", .usage = "serverAuth"});
  const Bytes answer = Answer(root_, leaf.certificate.get(), {.delegate = &sibling});

  EXPECT_EQ(Said(Subject(leaf, root_.der())->Read(answer)), "signature");
}

TEST_F(Ocsp, RefusesAResponderOfAnotherCa) {
  Authority stranger("stranger");
  const Identity delegate = stranger.Issue({.subject = "responder", .usage = "OCSPSigning"});

  EXPECT_EQ(Said(Read(AnswerFor(leaf_, {.delegate = &delegate}))), "signature");
}

TEST_F(Ocsp, RefusesAResponderWhoseTimeIsOver) {
  const Identity delegate = issuer_.Issue(
      {.subject = "responder", .usage = "OCSPSigning", .not_before_s = -7200, .not_after_s = -3600});

  EXPECT_EQ(Said(Read(AnswerFor(leaf_, {.delegate = &delegate}))), "signature");
}

TEST_F(Ocsp, RefusesTheRootAboveTheIssuer) {
  // Same CertID as the issuer would give, but the root's signature.
  Identity root;
  root.key.reset(root_.key());
  root.certificate.reset(root_.certificate());
  const Bytes answer = AnswerFor(leaf_, {.delegate = &root});
  (void)root.key.release();
  (void)root.certificate.release();

  EXPECT_EQ(Said(Read(answer)), "signature");
}

TEST_F(Ocsp, RefusesEveryChangedOrMissingByte) {
  const Bytes answer = AnswerFor(leaf_);
  const auto subject = Subject(leaf_, issuer_.der());
  for (size_t i = 0; i < answer.size(); ++i) {
    Bytes changed = answer;
    changed[i] ^= 0x01;
    EXPECT_NE(Said(subject->Read(changed)), "good") << "byte " << i;
    EXPECT_NE(Said(subject->Read(Bytes(answer.begin(), answer.begin() + static_cast<long>(i)))), "good")
        << "cut at " << i;
  }
}

TEST_F(Ocsp, RefusesWhatFollowsAnAnswer) {
  Bytes answer = AnswerFor(leaf_);
  answer.push_back(0);

  EXPECT_EQ(Said(Read(answer)), "malformed");
}

TEST_F(Ocsp, RefusesWhatIsNoAnswer) {
  const std::string page = "<html>this network asks you to log in</html>";

  EXPECT_EQ(Said(Read({})), "malformed");
  EXPECT_EQ(Said(Read(Bytes(page.begin(), page.end()))), "malformed");
  EXPECT_EQ(Said(Read(issuer_.der())), "malformed");
}

struct ErrorRow {
  int status;
  const char* reason;
};
class OcspError : public Ocsp, public testing::WithParamInterface<ErrorRow> {};
TEST_P(OcspError, OfTheResponderHasItsWord) {
  EXPECT_EQ(Said(Read(ErrorAnswer(GetParam().status))), GetParam().reason);
}
INSTANTIATE_TEST_SUITE_P(Each, OcspError,
                         testing::Values(ErrorRow{OCSP_RESPONSE_STATUS_MALFORMEDREQUEST, "malformed-request"},
                                         ErrorRow{OCSP_RESPONSE_STATUS_INTERNALERROR, "internal-error"},
                                         ErrorRow{OCSP_RESPONSE_STATUS_TRYLATER, "try-later"},
                                         ErrorRow{OCSP_RESPONSE_STATUS_SIGREQUIRED, "signature-required"},
                                         ErrorRow{OCSP_RESPONSE_STATUS_UNAUTHORIZED, "unauthorized"},
                                         ErrorRow{OCSP_RESPONSE_STATUS_SUCCESSFUL, "malformed"}));

}  // namespace
}  // namespace sealgate::test
