// SPDX-License-Identifier: Apache-2.0
// The load generator against a terminator: what it begins, what it counts, and how it leaves.
#include "load_client.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>

#include <algorithm>

#include "support/authority.h"
#include "support/eventually.h"
#include "support/front.h"
#include "support/plain_server.h"

namespace sealgate::test {
namespace {

constexpr uint64_t kNsPerMs = 1'000'000;

// A generator on a loop of its own, run by the test. At the end nothing of it may be left on the loop.
class Generator final {
 public:
  explicit Generator(uint16_t port, LoadOffer offer = {.verify = false}, LoadOptions options = {}) {
    uv_loop_init(&loop_);
    options.route.server = Loopback(port);
    if (options.timeout_ns == 0) options.timeout_ns = 15'000 * kNsPerMs;
    auto created = LoadContext::Create(offer);
    auto* context = std::get_if<std::unique_ptr<LoadContext>>(&created);
    if (context != nullptr) client_ = std::make_unique<LoadClient>(&loop_, std::move(*context), options);
  }
  ~Generator() {
    client_.reset();
    uv_run(&loop_, UV_RUN_DEFAULT);
    EXPECT_EQ(uv_loop_close(&loop_), 0);
  }
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  LoadClient& operator*() { return *client_; }
  LoadClient* operator->() { return client_.get(); }
  [[nodiscard]] bool valid() const { return client_ != nullptr; }

  // Runs the loop, and keeps all records, until the predicate holds.
  template <typename Predicate>
  [[nodiscard]] bool RunUntil(Predicate holds) {
    return Eventually([&] {
      uv_run(&loop_, UV_RUN_NOWAIT);
      for (const LoadRecord& record : client_->Take()) records.push_back(record);
      return holds();
    });
  }
  [[nodiscard]] bool RunUntilRecords(size_t count) {
    return RunUntil([&] { return records.size() >= count; });
  }
  // Begins no more, and waits for what is under way.
  [[nodiscard]] bool Finish() {
    client_->Stop();
    return RunUntil([&] { return client_->open() == 0; });
  }
  [[nodiscard]] long Count(uint32_t outcome) const {
    return std::ranges::count(records, double{static_cast<double>(outcome)}, &LoadRecord::outcome);
  }
  // What the only handshake of a probe has failed with; empty: nothing.
  [[nodiscard]] std::string Probe() {
    client_->Probe();
    EXPECT_TRUE(RunUntilRecords(1));
    return client_->errors().empty() ? "" : client_->errors().front();
  }

  std::vector<LoadRecord> records;

 private:
  uv_loop_t loop_{};
  std::unique_ptr<LoadClient> client_;
};

std::string PemOf(const Bytes& der) {
  const unsigned char* cursor = der.data();
  const X509Ptr certificate(d2i_X509(nullptr, &cursor, static_cast<long>(der.size())));
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate.get());
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<size_t>(size)};
}

std::string ServerPem() { return PemOf(KeyPairOf(KeyKind::kP256).certificate); }

class Load : public testing::TestWithParam<int> {};

TEST_P(Load, HasTheWantedShareOfResumedHandshakesAndTheServerSaysSo) {
  Front front;
  Generator generator(front.port(), {.version = GetParam(), .verify = false}, {.route = {.tickets = true}});
  ASSERT_EQ(generator.Probe(), "");
  ASSERT_TRUE(generator->has_ticket());
  generator.records.clear();

  generator->Start({.connections = 4, .resumed = 0.75});
  ASSERT_TRUE(generator.RunUntilRecords(40));
  ASSERT_TRUE(generator.Finish());

  const auto all = static_cast<long>(generator.records.size());
  const long resumed = generator.Count(LoadOutcome::kResumed);
  EXPECT_EQ(generator.Count(LoadOutcome::kFull) + resumed, all);
  EXPECT_NEAR(static_cast<double>(resumed), 0.75 * static_cast<double>(all), 1);
  EXPECT_TRUE(Eventually([&] {
    return front.handshakes(true) == static_cast<uint64_t>(resumed) &&
           front.handshakes(false) == static_cast<uint64_t>(all - resumed) + 1;
  }));
  for (const LoadRecord& record : generator.records) EXPECT_GT(record.finished_ms, record.intended_ms);
}

// A client that goes before it has read the server's tickets would be a failed handshake to the server.
TEST_P(Load, AResetIsNoFailedHandshakeToTheServer) {
  Front front;
  Generator generator(front.port(), {.version = GetParam(), .verify = false}, {.route = {.reset = true}});

  generator->Start({.connections = 4});
  ASSERT_TRUE(generator.RunUntilRecords(40));
  ASSERT_TRUE(generator.Finish());

  const auto all = static_cast<uint64_t>(generator.Count(LoadOutcome::kFull));
  EXPECT_EQ(all, generator.records.size());
  EXPECT_TRUE(
      generator.RunUntil([&] { return front.handshakes(false) == all && front.open_connections() == 0; }));
  EXPECT_EQ(front.handshakes_failed(), 0U);
}

// The server's keys for tickets are others by then.
TEST_P(Load, ATicketThatIsNotTakenIsAFullHandshakeAndCountedAsThat) {
  Front front;
  Generator generator(front.port(), {.version = GetParam(), .verify = false});
  ASSERT_EQ(generator.Probe(), "");
  generator.records.clear();
  front.terminator().SetTicketKeys({TicketKey(9)});

  generator->Start({.connections = 1, .resumed = 1});
  ASSERT_TRUE(generator.RunUntilRecords(1));
  ASSERT_TRUE(generator.Finish());

  EXPECT_EQ(generator.records.front().outcome, LoadOutcome::kTicketRefused);
}

INSTANTIATE_TEST_SUITE_P(Versions, Load, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& info) { return info.param == TLS1_2_VERSION ? "Tls12" : "Tls13"; });

TEST(LoadSchedule, AnOpenLoopBeginsByTheClockAndLeavesOutWhatWouldBeTooMany) {
  Front front;
  front.SetAnswer(Answer::kHold);
  Generator generator(front.port());
  generator->Start({.first_ms = 5, .interval_ms = 10, .max_open = 3});
  ASSERT_TRUE(generator.RunUntil([&] { return generator.Count(LoadOutcome::kSkipped) >= 4; }));
  for (int i = 0; i < 3; ++i) {
    const auto request = front.held.Take([](const auto&) { return true; });
    ASSERT_TRUE(request);
    Front::Sign(*request);
  }
  ASSERT_TRUE(generator.RunUntil([&] { return generator.Count(LoadOutcome::kFull) >= 3; }));

  // The fourth to seventh were left out: three were open, and waited.
  std::vector<double> skipped;
  for (const LoadRecord& record : generator.records)
    if (record.outcome == LoadOutcome::kSkipped) skipped.push_back(record.intended_ms);
  for (size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(skipped.at(i), 5 + 10 * static_cast<double>(i + 3), 1e-3) << "number " << i;
  const auto full = std::ranges::find(generator.records, double{LoadOutcome::kFull}, &LoadRecord::outcome);
  ASSERT_NE(full, generator.records.end());
  EXPECT_GE(full->started_ms, full->intended_ms);
  EXPECT_GT(full->finished_ms - full->intended_ms, 40);  // while four others were left out
}

TEST(LoadFailure, AHandshakeThatTakesTooLongHasFailedAndIsOver) {
  Front front;
  front.SetAnswer(Answer::kHold);
  Generator generator(front.port(), {.verify = false}, {.timeout_ns = 50 * kNsPerMs});

  EXPECT_EQ(generator.Probe(), "ETIMEDOUT");
  EXPECT_EQ(generator->open(), 0U);
  EXPECT_TRUE(Eventually([&] { return front.open_connections() == 0; }));
}

TEST(LoadFailure, WhereNobodyListensAFewTriesAreMadeNotThousands) {
  Generator generator(ClosedPort());

  generator->Start({.connections = 2});
  ASSERT_TRUE(generator.RunUntilRecords(6));

  EXPECT_EQ(generator->errors(), std::vector<std::string>{"ECONNREFUSED"});
  EXPECT_GE(generator.records.back().intended_ms, 40);  // two rests of 20 ms lie between three tries
}

TEST(LoadFailure, AnAlertIsToldInOpensslsWords) {
  Front front({.alpn = {"h2"}});
  Generator generator(front.port(), {.alpn = {"smtp"}, .verify = false});

  EXPECT_NE(generator.Probe().find("no application protocol"), std::string::npos);
}

TEST(LoadOffered, TheServerGetsNameAndProtocols) {
  Front front({.mode = ListenerMode::kTcp, .alpn = {"http/1.1", "h2"}});
  Generator generator(front.port(), {.server_name = "one.example", .alpn = {"h2"}, .verify = false},
                      {.source_first = 3, .source_step = 2});
  generator->Start({.connections = 1});
  ASSERT_TRUE(generator.RunUntilRecords(2));
  ASSERT_TRUE(generator.Finish());

  const auto first = front.established.Take([](const auto&) { return true; });
  const auto second = front.established.Take([](const auto&) { return true; });
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->server_name, "one.example");
  EXPECT_EQ(first->alpn_protocol, "h2");
  EXPECT_EQ(first->peer, "127.4.1.1");
  EXPECT_EQ(second->peer, "127.6.1.1");
}

TEST(LoadVerification, ACertificateIsBelievedForItsNameAndIssuerOnly) {
  Front front;
  const auto probe = [&](const std::string& authorities, const std::string& name) {
    Generator generator(front.port(), {.authorities = authorities, .expected_name = name});
    return generator.Probe();
  };
  const std::string other = PemOf(Authority("another").der());

  EXPECT_EQ(probe(ServerPem(), "native test"), "");
  EXPECT_EQ(probe(other + ServerPem(), "native test"), "");
  EXPECT_EQ(probe(ServerPem(), "two.example"), "hostname mismatch");
  EXPECT_EQ(probe(ServerPem(), "127.0.0.1"), "IP address mismatch");
  EXPECT_EQ(probe(other, "native test"), "self-signed certificate");
}

// It has seen another one before: what was believed once is that certificate, not that server.
TEST(LoadVerification, ANewCertificateIsVerifiedAgain) {
  Front front;
  Generator generator(front.port(), {.authorities = ServerPem(), .expected_name = "native test"});
  generator->Start({.connections = 1});
  ASSERT_TRUE(generator.RunUntilRecords(3));
  EXPECT_TRUE(generator->errors().empty());

  const auto changed =
      front.terminator().SetCredentials(Endpoints({Credentials({"one.example"}, {KeyKind::kP384})}));
  ASSERT_TRUE(std::holds_alternative<std::monostate>(changed));

  ASSERT_TRUE(generator.RunUntil([&] { return !generator->errors().empty(); }));
  EXPECT_EQ(generator->errors().front(), "self-signed certificate");
  EXPECT_TRUE(generator.Finish());
}

TEST(LoadVerification, AnAuthorityThatIsNoCertificateIsRefused) {
  const auto created =
      LoadContext::Create({.authorities = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"});

  EXPECT_TRUE(std::holds_alternative<OpensslFailure>(created));
}

// Handshakes in the middle, connections that have not ended yet, and timers: ~Generator looks at the loop.
TEST(LoadEnd, MayComeAtAnyTime) {
  Front front;
  front.SetAnswer(Answer::kHold);
  Generator waiting(front.port());
  waiting->Start({.connections = 8});
  EXPECT_TRUE(waiting.RunUntil([&] { return front.signatures_pending() > 0; }));
  front.SetAnswer(Answer::kSign);
  Generator busy(front.port(), {.verify = false}, {.route = {.tickets = true}});
  busy->Start({.interval_ms = 1, .max_open = 100});
  EXPECT_TRUE(busy.RunUntilRecords(5));
}

}  // namespace
}  // namespace sealgate::test
