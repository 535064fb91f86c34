// SPDX-License-Identifier: Apache-2.0
// TLS 1.3 KeyUpdate (RFC 8446 §4.6.3): answered, but not without end.
#include <gtest/gtest.h>

#include <atomic>

#include "support/front.h"
#include "support/tls_client.h"

namespace sealgate::test {
namespace {

TEST(KeyUpdate, IsAnsweredAndTheConnectionGoesOn) {
  Front front;
  Worker worker(front);
  TlsClient client(front.port(), {.version = TLS1_3_VERSION});
  ASSERT_TRUE(client.Handshake());
  ASSERT_TRUE(client.Write("x"));
  const auto plain = worker.Next();
  ASSERT_TRUE(plain);
  EXPECT_EQ(ReadExactly(plain->fd.get(), 1), "x");

  for (int i = 0; i < 100; ++i) {
    client.RequestKeyUpdate();
    ASSERT_TRUE(client.Write("u"));
    ASSERT_EQ(ReadExactly(plain->fd.get(), 1), "u");
    SendAll(plain->fd.get(), "d");
    ASSERT_EQ(client.ReadExactly(1), "d");
  }
}

TEST(KeyUpdate, FloodEndsTheConnectionWhetherIdleOrInUse) {
  for (const bool in_use : {false, true}) {
    Front front;
    Worker worker(front);
    TlsClient client(front.port(), {.version = TLS1_3_VERSION});
    ASSERT_TRUE(client.Handshake());
    std::optional<PlainConnection> plain;
    if (in_use) {
      ASSERT_TRUE(client.Write("x"));
      plain = worker.Next();
    }

    for (int i = 0; i < 5000; ++i) client.RequestKeyUpdate();

    client.ReadToEnd();
    EXPECT_TRUE(client.end() == TlsClient::End::kReset || client.end() == TlsClient::End::kTruncated);
    TlsClient other(front.port());
    EXPECT_TRUE(other.Handshake());
  }
}

// The client's socket is full, so that each answer waits in our memory: the client is not heard any more
// until it takes them.
TEST(KeyUpdate, AnswersThatAreNotTakenStopTheReading) {
  constexpr int kRounds = 450;  // of 30 answers of 27 bytes: 364 KB; about 190 KB fit on the way
  Front front;
  Worker worker(front);
  TlsClient client(front.port(), {.version = TLS1_3_VERSION, .tiny_window = true});
  ASSERT_TRUE(client.Handshake());
  ASSERT_TRUE(client.Write("x"));
  const auto plain = worker.Next();
  ASSERT_TRUE(plain);
  const size_t sent = SendUntilStuck(plain->fd.get());
  std::atomic<int> heard{0};
  std::thread reader([&] {
    while (heard <= kRounds && !ReadExactly(plain->fd.get(), 1).empty()) ++heard;
  });
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < 30; ++i) client.RequestKeyUpdate();
    ASSERT_TRUE(client.Write("u"));
  }
  int last = 0;
  do {  // until it is heard no more
    last = heard;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  } while (heard != last);
  EXPECT_GT(heard, 0);
  EXPECT_LT(heard, kRounds * 3 / 4);

  WidenWindow(client.fd());
  EXPECT_EQ(client.ReadExactly(sent).size(), sent);
  SendAll(plain->fd.get(), "d");
  EXPECT_EQ(client.ReadExactly(1), "d");  // takes all answers on the way

  reader.join();
  EXPECT_EQ(heard, kRounds + 1);
}

}  // namespace
}  // namespace sealgate::test
