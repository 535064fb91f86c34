// SPDX-License-Identifier: Apache-2.0
// http mode: plaintext goes to a worker as a socket, and every kind of end reaches the client as what it is.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <future>

#include "support/front.h"
#include "support/tls_client.h"

namespace sealgate::test {
namespace {

// A client whose first bytes have arrived at a worker.
struct Exchange {
  explicit Exchange(Front& front, Worker& worker, int version = TLS1_3_VERSION, bool tiny_window = false)
      : client(front.port(), {.version = version, .alpn = {"http/1.1"}, .tiny_window = tiny_window}) {
    // What is read bit by bit must not come as one record.
    if (tiny_window) SSL_set_tlsext_max_fragment_length(client.ssl(), TLSEXT_max_fragment_length_1024);
    if (!client.Handshake() || !client.Write("GET /")) return;
    if (auto connection = worker.Next()) plain = std::move(*connection);
    EXPECT_EQ(ReadExactly(plain.fd.get(), 5), "GET /");
  }

  TlsClient client;
  PlainConnection plain;
};

TEST(Http, AnIdleConnectionStaysUntilItsFirstByte) {
  Front front({.alpn = {"http/1.1"}});
  Worker worker(front);
  TlsClient client(front.port());
  ASSERT_TRUE(client.Handshake());
  ASSERT_TRUE(Eventually([&] { return front.listener().idle == 1; }));
  EXPECT_EQ(front.listener().active, 0);

  ASSERT_TRUE(client.Write("G"));

  ASSERT_TRUE(worker.Next());
}

TEST(Http, TheWorkerGetsTheFirstBytesAndTheFacts) {
  Front front({.alpn = {"h2", "http/1.1"}});
  Worker worker(front);

  Exchange exchange(front, worker);

  const Established& facts = exchange.plain.facts;
  EXPECT_EQ(facts.server_name, "one.example");
  EXPECT_EQ(facts.alpn_protocol, "http/1.1");
  EXPECT_STREQ(facts.tls_version, "TLSv1.3");
  EXPECT_STREQ(facts.cipher, SSL_get_cipher_name(exchange.client.ssl()));
  EXPECT_FALSE(facts.resumed);
  EXPECT_EQ(facts.peer, "127.0.0.1");
  EXPECT_EQ(facts.peer_port, SocketAddress::Local(exchange.client.fd()).port());
  EXPECT_EQ(facts.local_port, front.port());
  EXPECT_EQ(front.listener().active, 1);
}

// The handshake thread stands still in the middle of somebody's handshake.
TEST(Http, AConnectionThatCarriesBytesWaitsForNoHandshake) {
  std::promise<void> goes_on;
  std::shared_future<void> gate = goes_on.get_future().share();
  std::atomic<bool> shut{false};
  std::atomic<bool> stands_still{false};
  Front front({.on_sign_wake = [&, gate] {
    if (!shut) return;
    stands_still = true;
    gate.wait();
  }});
  Worker worker(front);
  Exchange open(front, worker);
  shut = true;
  TlsClient late(front.port());
  auto handshake = std::async(std::launch::async, [&] { return late.Handshake(); });
  EXPECT_TRUE(Eventually([&] { return stands_still.load(); }));

  EXPECT_TRUE(open.client.Write("again"));
  EXPECT_EQ(ReadExactly(open.plain.fd.get(), 5), "again");
  SendAll(open.plain.fd.get(), "answer");
  EXPECT_EQ(open.client.ReadExactly(6), "answer");

  goes_on.set_value();
  EXPECT_TRUE(handshake.get());
}

TEST(Http, AWorkerThatClosesEndsTheConnectionWithCloseNotify) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Front front;
    Worker worker(front);
    Exchange exchange(front, worker, version);

    SendAll(exchange.plain.fd.get(), "whole answer");
    exchange.plain.fd.reset();

    EXPECT_EQ(exchange.client.ReadToEnd(), "whole answer");
    EXPECT_EQ(exchange.client.end(), TlsClient::End::kCloseNotify);
  }
}

// The order of a worker: abort first, then close. Either may be seen first.
TEST(Http, AnAbortIsAResetAndNeverACleanEnd) {
  Front front({.threads = 2});
  Worker worker(front);
  for (int i = 0; i < 100; ++i) {
    Exchange exchange(front, worker);

    SendAll(exchange.plain.fd.get(), "half an ans");
    Worker::Abort(exchange.plain);
    exchange.plain.fd.reset();

    exchange.client.ReadToEnd();
    ASSERT_EQ(exchange.client.end(), TlsClient::End::kReset);
  }
}

TEST(Http, AWorkerThatGoesTakesItsConnectionsWithAReset) {
  Front front;
  Worker worker(front);
  Worker other(front);  // now the only one that is used
  front.terminator().SetReceivers({});
  auto leaving = std::make_unique<Worker>(front);
  Exchange exchange(front, *leaving);
  SendAll(exchange.plain.fd.get(), "half an ans");

  leaving->Leave();
  exchange.plain.fd.reset();

  exchange.client.ReadToEnd();
  EXPECT_EQ(exchange.client.end(), TlsClient::End::kReset);
}

TEST(Http, AConnectionForWhichThereIsNoWorkerIsReset) {
  Front front;
  TlsClient client(front.port());
  ASSERT_TRUE(client.Handshake());
  client.Write("GET /");

  client.ReadToEnd();

  EXPECT_EQ(client.end(), TlsClient::End::kReset);
  EXPECT_EQ(front.Next<AcceptFailed>()->reason, "no HTTP worker");
}

TEST(Http, AClientsCloseNotifyIsTheEndOfTheRequestNotOfTheAnswer) {
  Front front;
  Worker worker(front);
  Exchange exchange(front, worker);

  exchange.client.CloseNotify();

  EXPECT_EQ(ReadToEnd(exchange.plain.fd.get()), "");
  SendAll(exchange.plain.fd.get(), "answer");
  exchange.plain.fd.reset();
  EXPECT_EQ(exchange.client.ReadToEnd(), "answer");
  EXPECT_EQ(exchange.client.end(), TlsClient::End::kCloseNotify);
}

TEST(Http, AClientThatResetsEndsTheWorkersSocket) {
  Front front;
  Worker worker(front);
  Exchange exchange(front, worker);

  exchange.client.Reset();

  EXPECT_EQ(ReadToEnd(exchange.plain.fd.get()).value_or(""), "");
  EXPECT_TRUE(Eventually([&] { return front.open_connections() == 0; }));
}

TEST(Http, AConnectionThatStaysIdleEndsWithCloseNotify) {
  Front front({.idle_timeout_ms = 100});
  TlsClient client(front.port());
  ASSERT_TRUE(client.Handshake());

  EXPECT_EQ(client.ReadToEnd(), "");

  EXPECT_EQ(client.end(), TlsClient::End::kCloseNotify);
}

// Where a drain closes an HTTP/2 connection: the client is not through with the last answer, and acknowledges
// what it reads (WINDOW_UPDATE). Longer than the 2 s that a silent peer gets.
TEST(Http, ASlowReaderGetsTheLastBytesThoughItSendsMeanwhile) {
  constexpr size_t kParts = 14;
  constexpr size_t kPart = 1400;
  const std::string answer(kParts * kPart, 'a');
  Front front;
  Worker worker(front);
  Exchange exchange(front, worker, TLS1_3_VERSION, true);
  SendAll(exchange.plain.fd.get(), answer);
  exchange.plain.fd.reset();

  std::string got;
  for (size_t part = 0; part < kParts; ++part) {
    std::this_thread::sleep_for(std::chrono::milliseconds(250));  // the pace of this client
    // Not before the first 2 s are over: that it reads has to be enough.
    if (part > kParts * 2 / 3) {
      EXPECT_TRUE(exchange.client.Write("u"));
    }
    got += exchange.client.ReadExactly(kPart);
  }

  EXPECT_EQ(got.size(), answer.size());
  EXPECT_EQ(exchange.client.ReadToEnd(), "");
  EXPECT_EQ(exchange.client.end(), TlsClient::End::kCloseNotify);
}

// As after an early answer (413, 401) to a request whose body is long.
TEST(Http, AClientThatGoesOnUploadingAfterTheAnswerIsNotReset) {
  Front front;
  Worker worker(front);
  Exchange exchange(front, worker);
  SendAll(exchange.plain.fd.get(), "too large");
  exchange.plain.fd.reset();

  for (int i = 0; i < 14; ++i) {
    ASSERT_TRUE(exchange.client.Write(std::string(10'000, 'b')));
    std::this_thread::sleep_for(std::chrono::milliseconds(250));  // the pace of this client
  }

  EXPECT_EQ(exchange.client.ReadToEnd(), "too large");
  EXPECT_EQ(exchange.client.end(), TlsClient::End::kCloseNotify);
}

TEST(Http, AClientThatTakesNothingAfterTheEndIsNotWaitedFor) {
  Front front;
  Worker worker(front);
  Exchange exchange(front, worker, TLS1_3_VERSION, true);
  SendAll(exchange.plain.fd.get(), std::string(20'000, 'a'));
  exchange.plain.fd.reset();

  EXPECT_TRUE(Eventually([&] { return front.open_connections() == 0; }, std::chrono::milliseconds(6000)));
}

TEST(Http, DrainingClosesIdleConnectionsWithCloseNotifyAndLeavesTheOthers) {
  Front front;
  Worker worker(front);
  TlsClient idle(front.port());
  ASSERT_TRUE(idle.Handshake());
  Exchange busy(front, worker);

  front.terminator().Drain();

  EXPECT_EQ(idle.ReadToEnd(), "");
  EXPECT_EQ(idle.end(), TlsClient::End::kCloseNotify);
  SendAll(busy.plain.fd.get(), "answer");
  EXPECT_EQ(busy.client.ReadExactly(6), "answer");
  TlsClient late(front.port());  // has a request on its way, perhaps: gets the grace
  ASSERT_TRUE(late.Handshake());
  ASSERT_TRUE(late.Write("late"));
  EXPECT_TRUE(worker.Next());
}

}  // namespace
}  // namespace sealgate::test
