// SPDX-License-Identifier: Apache-2.0
// Back-pressure: a side that does not read stops the other one, and costs no memory meanwhile.
#include <gtest/gtest.h>
#include <malloc.h>

#include "support/front.h"
#include "support/plain_server.h"
#include "support/tls_client.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SEALGATE_COUNTS_HEAP
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SEALGATE_COUNTS_HEAP
#endif
#ifdef SEALGATE_COUNTS_HEAP
// Of <sanitizer/allocator_interface.h>, which gcc does not install.
extern "C" size_t __sanitizer_get_current_allocated_bytes();
#endif

namespace sealgate::test {
namespace {

// What the whole process has allocated and not freed.
size_t HeapInUse() {
#ifdef SEALGATE_COUNTS_HEAP
  return __sanitizer_get_current_allocated_bytes();
#else
  return mallinfo2().uordblks;
#endif
}

// What a connection may hold: a read's worth each way and OpenSSL's buffers, with room for the allocator.
constexpr size_t kBound = 1'000'000;
constexpr size_t kBody = 10'000'000;

std::string Body(char first) {
  std::string body(kBody, '\0');
  for (size_t i = 0; i < kBody; ++i) body[i] = static_cast<char>(first + static_cast<int>(i % 23));
  return body;
}

struct Exchange {
  Exchange(Front& front, Worker& worker, bool tiny_window)
      : client(front.port(), {.tiny_window = tiny_window}) {
    if (!client.Handshake() || !client.Write("x")) return;
    if (auto connection = worker.Next()) plain = std::move(connection->fd);
    EXPECT_EQ(ReadExactly(plain.get(), 1), "x");
  }

  TlsClient client;
  UniqueFd plain;
};

TEST(Flow, AClientThatDoesNotReadStopsTheWorker) {
  Front front;
  Worker worker(front);
  Exchange exchange(front, worker, true);
  const size_t before = HeapInUse();

  const size_t sent = SendUntilStuck(exchange.plain.get());

  EXPECT_LT(sent, kBody);  // the system's buffers and one read's worth
  EXPECT_LT(HeapInUse(), before + kBound);
  EXPECT_EQ(exchange.client.ReadExactly(sent).size(), sent);
}

TEST(Flow, AWorkerThatDoesNotReadStopsTheClient) {
  Front front;
  Worker worker(front);
  Exchange exchange(front, worker, false);
  const std::string body = Body('a');
  const size_t before = HeapInUse();
  std::atomic<size_t> sent{0};
  std::thread sender([&] {
    for (size_t at = 0; at < kBody; at += 100'000) {
      ASSERT_TRUE(exchange.client.Write(std::string_view(body).substr(at, 100'000)));
      sent = at + 100'000;
    }
  });

  size_t last = 0;
  do {  // until it is stuck
    last = sent;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  } while (sent != last);
  EXPECT_LT(HeapInUse(), before + kBound);

  const std::string got = ReadExactly(exchange.plain.get(), kBody);
  sender.join();
  EXPECT_TRUE(got == body);
}

TEST(Flow, TenMegabytesEachWayAtOnceArriveWhole) {
  Front front;
  Worker worker(front);
  Exchange exchange(front, worker, false);
  const std::string up = Body('a');
  const std::string down = Body('A');
  std::string got_up;
  std::thread sender([&] { SendAll(exchange.plain.get(), down); });
  std::thread receiver([&] { got_up = ReadExactly(exchange.plain.get(), kBody); });

  // One SSL object serves one thread: write a piece, read what is there.
  std::string got_down;
  for (size_t at = 0; at < kBody; at += 10'000) {
    ASSERT_TRUE(exchange.client.Write(std::string_view(up).substr(at, 10'000)));
    got_down += exchange.client.ReadExactly(10'000);
  }
  sender.join();
  receiver.join();

  EXPECT_TRUE(got_up == up);
  EXPECT_TRUE(got_down == down);
}

TEST(Flow, ASlowClientGetsTheWholeAnswerAndACleanEnd) {
  Front front;
  Worker worker(front);
  Exchange exchange(front, worker, false);
  const std::string body = Body('a');
  std::thread sender([&] {
    SendAll(exchange.plain.get(), body);
    exchange.plain.reset();
  });

  std::string got;
  while (got.size() < kBody) {
    const std::string part = exchange.client.ReadExactly(std::min(kBody - got.size(), kBody / 10));
    if (part.empty()) break;
    got += part;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the pace of this client
  }
  sender.join();

  EXPECT_TRUE(got == body);
  EXPECT_EQ(exchange.client.ReadToEnd(), "");
  EXPECT_EQ(exchange.client.end(), TlsClient::End::kCloseNotify);
}

TEST(Flow, AChainLargerThanTheClientsWindowArrivesWhole) {
  CredentialsSpec credentials = Credentials({"one.example"}, {KeyKind::kRsa2048});
  auto& chain = credentials.certificates[0].chain;
  for (int i = 0; i < 1500; ++i) chain.push_back(chain.front());  // 1 MB
  Front front({.credentials = {credentials}});
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsClient client(front.port(), {.version = version, .tiny_window = true});
    SSL_set_max_cert_list(client.ssl(), 10'000'000);
    client.BeginHandshake();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // the server's socket fills meanwhile
    WidenWindow(client.fd());

    EXPECT_TRUE(client.Handshake());
  }
}

TEST(Flow, ABusyConnectionDoesNotStarveAnother) {
  Front front({.mode = ListenerMode::kTcp});
  PlainServer server;
  front.SetRouting({.addresses = {Loopback(server.port())}});
  TlsClient busy(front.port());
  ASSERT_TRUE(busy.Handshake());
  const UniqueFd busy_upstream = server.Accept();
  std::atomic<bool> stop{false};
  std::thread echo([&] {  // both directions are full all the time
    std::array<char, 65536> buffer;
    for (ssize_t n = 1; n > 0;) {
      n = recv(busy_upstream.get(), buffer.data(), buffer.size(), 0);
      if (n > 0) SendAll(busy_upstream.get(), {buffer.data(), static_cast<size_t>(n)});
    }
  });
  std::thread traffic([&] {
    const std::string chunk(60'000, 'b');
    while (!stop && busy.Write(chunk)) busy.ReadExactly(chunk.size());
    busy.CloseNotify();
  });

  TlsClient other(front.port());
  EXPECT_TRUE(other.Handshake());
  const UniqueFd upstream = server.Accept();
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(other.Write("ping"));
    ASSERT_EQ(ReadExactly(upstream.get(), 4), "ping");
  }
  stop = true;
  traffic.join();
  echo.join();
}

}  // namespace
}  // namespace sealgate::test
