// SPDX-License-Identifier: Apache-2.0
// A handshake that waits for its signature: resumed once, whatever else happens meanwhile and in whatever
// order.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "support/front.h"
#include "support/tls_client.h"

namespace sealgate::test {
namespace {

TEST(Signature, SuspendsTheHandshakeAndNothingElse) {
  Front front;
  front.SetAnswer(Answer::kHold);
  TlsClient waiting(front.port());
  waiting.BeginHandshake();
  const auto request = front.held.Take();
  ASSERT_TRUE(request);
  EXPECT_EQ(front.signatures_pending(), 1);

  front.SetAnswer(Answer::kSign);
  for (int i = 0; i < 5; ++i) {
    TlsClient other(front.port());
    EXPECT_TRUE(other.Handshake());
  }
  EXPECT_EQ(front.signatures_pending(), 1);
  Front::Sign(*request);

  EXPECT_TRUE(waiting.Handshake());
  EXPECT_EQ(front.signatures_pending(), 0);
  EXPECT_EQ(front.signatures_requested(), 6U);
}

TEST(Signature, OfHundredsOfHandshakesMayBePendingAtOnce) {
  constexpr size_t kClients = 300;
  Front front({.threads = 2, .handshake_timeout_ms = 60'000});
  front.SetAnswer(Answer::kHold);
  std::vector<std::unique_ptr<TlsClient>> clients;
  for (size_t i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<TlsClient>(front.port()));
    clients.back()->BeginHandshake();
  }
  std::vector<SignRequest> requests;
  while (requests.size() < kClients) {
    auto request = front.held.Take();
    ASSERT_TRUE(request) << requests.size();
    requests.push_back(std::move(*request));
  }
  EXPECT_EQ(front.signatures_pending(), static_cast<int64_t>(kClients));

  for (auto request = requests.rbegin(); request != requests.rend(); ++request) Front::Sign(*request);

  for (const auto& client : clients) ASSERT_TRUE(client->Handshake());
  EXPECT_TRUE(Eventually([&] { return front.handshakes(false) == kClients; }));
  EXPECT_EQ(front.signatures_requested(), kClients);
}

TEST(Signature, ThatFailsEndsInInternalError) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Front front;
    front.SetAnswer(Answer::kFail);
    TlsClient client(front.port(), {.version = version});

    EXPECT_FALSE(client.Handshake());

    EXPECT_EQ(client.alert(), SSL_AD_INTERNAL_ERROR);
    const auto failed = front.Next<HandshakeFailed>();
    ASSERT_TRUE(failed);
    EXPECT_EQ(failed->reason, "the token is away");
    EXPECT_EQ(front.handshakes_failed(), 1U);
  }
}

// What the client has sent ahead would be read otherwise, by a connection that is half gone.
TEST(Signature, ThatComesTogetherWithTheEndOfItsConnectionFinishesNothing) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Front front;
    front.SetAnswer(Answer::kHold);
    TlsClient client(front.port(), {.version = version});
    client.BeginHandshake();
    const auto request = front.held.Take();
    ASSERT_TRUE(request);
    const KeyPair& pair = KeyPairOf(static_cast<KeyKind>(request->key_id));
    std::vector<Command> in_one_round;
    in_one_round.emplace_back(
        FinishSign{.handle = request->handle,
                   .signature = SignInSoftware(pair.key.get(), request->scheme, request->message),
                   .reason = {}});
    in_one_round.emplace_back(AbortConnection{request->handle});
    front.terminator().threads().front()->inbox().PushAll(in_one_round);

    EXPECT_FALSE(client.Handshake());

    EXPECT_EQ(client.alert(), SSL_AD_INTERNAL_ERROR);
  }
}

TEST(Signature, ThatIsLongerThanTheKeyAllowsEndsInInternalError) {
  Front front;
  front.SetAnswer(Answer::kHold);
  TlsClient client(front.port());
  client.BeginHandshake();
  const auto request = front.held.Take();
  ASSERT_TRUE(request);

  Registry::Instance().Send(request->handle,
                            FinishSign{.handle = request->handle, .signature = Bytes(5000, 1), .reason = {}});

  EXPECT_FALSE(client.Handshake());
  EXPECT_EQ(client.alert(), SSL_AD_INTERNAL_ERROR);
}

TEST(Signature, ThatComesTwiceCountsOnce) {
  Front front;
  front.SetAnswer(Answer::kTwice);
  Worker worker(front);
  for (int i = 0; i < 20; ++i) {
    TlsClient client(front.port());
    ASSERT_TRUE(client.Handshake());
    ASSERT_TRUE(client.Write("x"));
    ASSERT_TRUE(worker.Next());
  }

  EXPECT_EQ(front.handshakes(false), 20U);
  EXPECT_EQ(front.handshakes_failed(), 0U);
}

// The hand-over itself may answer: then the command is in the inbox before the handshake step is over.
TEST(Signature, MayBeAnsweredBeforeTheStepThatAskedHasEnded) {
  std::atomic<Handle> next{0};
  Front front({.on_sign_wake = [&] {
    const Handle handle = next.exchange(0);
    if (handle == 0) return;
    Registry::Instance().Send(handle, FinishSign{.handle = handle, .signature = {}, .reason = "too quick"});
  }});
  front.SetAnswer(Answer::kHold);
  TlsClient first(front.port());
  first.BeginHandshake();
  const auto request = front.held.Take();
  ASSERT_TRUE(request);
  next = request->handle + Registry::kMaxThreads;  // the next connection of this thread

  TlsClient second(front.port());
  EXPECT_FALSE(second.Handshake());

  EXPECT_EQ(second.alert(), SSL_AD_INTERNAL_ERROR);
  EXPECT_EQ(front.Next<HandshakeFailed>()->reason, "too quick");
  Front::Sign(*request);
  EXPECT_TRUE(first.Handshake());
}

TEST(Signature, ForClientsThatHaveLeftIsForNobody) {
  constexpr int kClients = 200;
  Front front({.threads = 2});
  front.SetAnswer(Answer::kHold);
  std::vector<SignRequest> requests;
  for (int i = 0; i < kClients; ++i) {
    TlsClient client(front.port(), {.version = i % 2 == 0 ? TLS1_3_VERSION : TLS1_2_VERSION});
    client.BeginHandshake();
    auto request = front.held.Take();
    ASSERT_TRUE(request);
    requests.push_back(std::move(*request));
    if (i % 3 == 0) client.Reset();
  }

  EXPECT_TRUE(Eventually([&] { return front.signatures_pending() == 0 && front.open_connections() == 0; }));
  for (const SignRequest& request : requests) Front::Sign(request);
  front.SetAnswer(Answer::kSign);
  TlsClient client(front.port());
  EXPECT_TRUE(client.Handshake());
  EXPECT_EQ(front.handshakes_failed(), static_cast<uint64_t>(kClients));
  EXPECT_TRUE(Eventually([&] { return front.handshakes(false) == 1; }));
}

TEST(Signature, OfAClientThatSpeaksEarlyAndLeavesIsAbandonedAtOnce) {
  Front front;
  front.SetAnswer(Answer::kHold);
  TlsClient client(front.port());
  client.BeginHandshake();
  ASSERT_TRUE(front.held.Take());

  SendAll(client.fd(), "early");
  client.Drop();

  const auto failed = front.Next<HandshakeFailed>();
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->reason, "peer closed");
  EXPECT_LT(failed->duration_ms, 9000);
  EXPECT_TRUE(Eventually([&] { return front.signatures_pending() == 0; }));
}

TEST(Signature, ThatDoesNotComeInTimeEndsInInternalError) {
  Front front({.handshake_timeout_ms = 100});
  front.SetAnswer(Answer::kHold);
  TlsClient client(front.port());

  EXPECT_FALSE(client.Handshake());

  EXPECT_EQ(client.alert(), SSL_AD_INTERNAL_ERROR);
  EXPECT_EQ(front.Next<HandshakeFailed>()->reason, "timeout");
  EXPECT_EQ(front.signatures_pending(), 0);
}

TEST(Signature, ThatIsPendingWhenTheTerminatorClosesIsGivenUp) {
  Front front({.threads = 2});
  front.SetAnswer(Answer::kHold);
  std::vector<std::unique_ptr<TlsClient>> clients;
  for (int i = 0; i < 50; ++i) {
    clients.push_back(std::make_unique<TlsClient>(
        front.port(), TlsClient::Options{.version = i % 2 == 0 ? TLS1_3_VERSION : TLS1_2_VERSION}));
    clients.back()->BeginHandshake();
  }
  ASSERT_TRUE(Eventually([&] { return front.signatures_pending() == 50; }));

  front.Close();

  EXPECT_EQ(front.signatures_pending(), 0);
  EXPECT_EQ(front.open_connections(), 0);
  while (front.held.size() > 0) Front::Sign(*front.held.Take());
  for (const auto& client : clients) EXPECT_FALSE(client->Handshake());
}

}  // namespace
}  // namespace sealgate::test
