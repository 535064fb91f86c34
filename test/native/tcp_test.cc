// SPDX-License-Identifier: Apache-2.0
// tcp mode: TLS on one side, a TCP upstream on the other, each direction with its own end.
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "support/eventually.h"
#include "support/front.h"
#include "support/plain_server.h"
#include "support/tls_client.h"

namespace sealgate::test {
namespace {

// The proxy's own end of a connection to this port.
int SocketConnectedTo(uint16_t port) {
  for (int fd = 0; fd < 1024; ++fd) {
    SocketAddress peer;
    socklen_t size = SocketAddress::kCapacity;
    if (getpeername(fd, peer.data(), &size) == 0 && peer.family() == AF_INET && peer.port() == port)
      return fd;
  }
  return -1;
}

// So that the proxy soon waits for this upstream, and what the client sends waits in the client's socket.
void ShrinkSendBufferTo(uint16_t port) {
  const int bytes = 4096;
  setsockopt(SocketConnectedTo(port), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

// What has been taken is more than the proxy reads at once, with a KeyUpdate to be answered every 8 KB.
std::string WriteWithKeyUpdates(TlsClient& client) {
  const int bytes = 200'000;
  setsockopt(client.fd(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  const std::string chunk(8'000, 'u');
  std::string written;
  for (int i = 0; i < 25; ++i) {
    client.RequestKeyUpdate();
    if (client.Write(chunk)) written += chunk;
  }
  return written;
}

class Tcp : public testing::Test {
 protected:
  Tcp() { Route({server_.port()}); }

  void Route(const std::vector<uint16_t>& ports, uint32_t connect_timeout_ms = 5000,
             uint32_t idle_timeout_ms = 60'000) {
    TcpRouting routing{
        .addresses = {}, .connect_timeout_ms = connect_timeout_ms, .idle_timeout_ms = idle_timeout_ms};
    for (const uint16_t port : ports) routing.addresses.push_back(Loopback(port));
    front_.SetRouting(routing);
  }

  // A client and its upstream end, after a byte has gone each way.
  struct Pair {
    std::unique_ptr<TlsClient> client;
    UniqueFd upstream;
  };
  Pair Connected() {
    Pair pair{std::make_unique<TlsClient>(front_.port()), {}};
    if (!pair.client->Handshake() || !pair.client->Write("?")) return pair;
    pair.upstream = server_.Accept();
    EXPECT_EQ(ReadExactly(pair.upstream.get(), 1), "?");
    SendAll(pair.upstream.get(), "!");
    EXPECT_EQ(pair.client->ReadExactly(1), "!");
    return pair;
  }

  static std::string Name(uint16_t port) { return "127.0.0.1:" + std::to_string(port); }

  Front front_{{.threads = 2, .mode = ListenerMode::kTcp}};
  PlainServer server_;
};

TEST_F(Tcp, TheUpstreamGetsThePrefaceBeforeTheClientsFirstByteAndItIsNotCounted) {
  front_.SetRouting({.addresses = {Loopback(server_.port())}, .preface = {'h', 'i'}});
  TlsClient client(front_.port());
  ASSERT_TRUE(client.Handshake());
  const UniqueFd upstream = server_.Accept();
  EXPECT_EQ(ReadExactly(upstream.get(), 2), "hi");  // a server that speaks first may do so now
  ASSERT_TRUE(client.Write("there"));

  EXPECT_EQ(ReadExactly(upstream.get(), 5), "there");

  SendAll(upstream.get(), "!");
  EXPECT_EQ(client.ReadExactly(1), "!");
  client.CloseNotify();
  shutdown(upstream.get(), SHUT_WR);
  const auto closed = front_.Next<ConnectionClosed>();
  ASSERT_TRUE(closed);
  EXPECT_EQ(closed->bytes_received, 5);
}

TEST_F(Tcp, AnEndOfTheClientReachesTheUpstreamWhichMayGoOn) {
  Pair pair = Connected();

  pair.client->CloseNotify();

  EXPECT_EQ(ReadToEnd(pair.upstream.get()), "");
  SendAll(pair.upstream.get(), "afterwards");
  EXPECT_EQ(pair.client->ReadExactly(10), "afterwards");
  pair.upstream.reset();
  EXPECT_EQ(pair.client->ReadToEnd(), "");
  EXPECT_EQ(pair.client->end(), TlsClient::End::kCloseNotify);
  const auto closed = front_.Next<ConnectionClosed>();
  ASSERT_TRUE(closed);
  EXPECT_EQ(closed->reason, "closed");
  EXPECT_EQ(closed->upstream, Name(server_.port()));
  EXPECT_EQ(closed->bytes_received, 1U);
  EXPECT_EQ(closed->bytes_sent, 11U);
  EXPECT_EQ(closed->connection.server_name, "one.example");
}

TEST_F(Tcp, AnEndOfTheUpstreamIsCloseNotifyAndTheClientMayGoOn) {
  Pair pair = Connected();

  shutdown(pair.upstream.get(), SHUT_WR);

  EXPECT_EQ(pair.client->ReadToEnd(), "");
  EXPECT_EQ(pair.client->end(), TlsClient::End::kCloseNotify);
  ASSERT_TRUE(pair.client->Write("afterwards"));
  EXPECT_EQ(ReadExactly(pair.upstream.get(), 10), "afterwards");
  pair.client->CloseNotify();
  EXPECT_EQ(ReadToEnd(pair.upstream.get()), "");
}

// A log shipper, say: it sends and never reads, and the server behind has been started anew.
TEST_F(Tcp, AClientThatOnlySendsIsToldThatTheUpstreamHasGone) {
  Pair pair = Connected();
  SendAll(pair.upstream.get(), "last words");
  pair.upstream.reset();

  EXPECT_TRUE(Eventually([&] { return !pair.client->Write("a line of a log\n"); }));

  const auto closed = front_.Next<ConnectionClosed>();
  ASSERT_TRUE(closed);
  EXPECT_EQ(closed->reason, "upstream closed");
  EXPECT_EQ(closed->bytes_sent, 11U);
}

TEST_F(Tcp, AClientThatStillSendsGetsWhatTheUpstreamSaidBeforeItWent) {
  const std::string last_words(100'000, 'u');
  TlsClient client(front_.port(), {.tiny_window = true});
  ASSERT_TRUE(client.Handshake());
  ASSERT_TRUE(client.Write("?"));
  UniqueFd upstream = server_.Accept();
  EXPECT_EQ(ReadExactly(upstream.get(), 1), "?");
  SendAll(upstream.get(), last_words);
  upstream.reset();
  std::this_thread::sleep_for(
      std::chrono::milliseconds(50));  // what the client sends earlier cuts the words off
  for (int i = 0; i < 20; ++i) (void)client.Write("more");

  EXPECT_EQ(client.ReadToEnd().size(), last_words.size());
  EXPECT_EQ(client.end(), TlsClient::End::kCloseNotify);
}

// The client's last bytes and its end are read together, and the upstream's socket takes only some of them.
TEST_F(Tcp, AnUpstreamThatHasEndedAndReadsSlowlyStillGetsEverything) {
  const std::string last_words(64'000, 'u');
  server_.ShrinkWindows();
  for (int i = 0; i < 10; ++i) {
    Pair pair = Connected();
    shutdown(pair.upstream.get(), SHUT_WR);
    EXPECT_EQ(pair.client->ReadToEnd(), "");

    ASSERT_TRUE(pair.client->Write(last_words));
    pair.client->CloseNotify();
    pair.client->Drop();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // the pace of this upstream

    ASSERT_EQ(ReadToEnd(pair.upstream.get()).value_or("a reset").size(), last_words.size());
  }
}

TEST_F(Tcp, AResetOfTheUpstreamIsAResetForTheClient) {
  Pair pair = Connected();
  SetResetOnClose(pair.upstream.get());
  pair.upstream.reset();

  pair.client->ReadToEnd();

  EXPECT_EQ(pair.client->end(), TlsClient::End::kReset);
  EXPECT_EQ(front_.Next<ConnectionClosed>()->reason, "upstream reset");
}

// The kernel tells a reset to whoever asks first: to the read, or to the write that is under way.
TEST_F(Tcp, AResetOfTheUpstreamWhileTheClientSendsIsNeverACleanEnd) {
  for (int i = 0; i < 40; ++i) {
    Pair pair = Connected();
    std::thread sender([&] {
      const std::string chunk(16'000, 'u');
      while (pair.client->Write(chunk)) {
      }
    });
    ReadExactly(pair.upstream.get(), static_cast<size_t>(20'000 * (i % 10 + 1)));
    SetResetOnClose(pair.upstream.get());
    pair.upstream.reset();
    sender.join();

    ASSERT_NE(pair.client->end(), TlsClient::End::kCloseNotify);
    const auto closed = front_.Next<ConnectionClosed>();
    ASSERT_TRUE(closed);
    ASSERT_NE(closed->reason, "closed");
  }
}

// A server that loses its power says nothing. The kernel gives up on what it does not acknowledge, after a
// quarter of an hour or when it is told to, and says so to the write that waits.
TEST_F(Tcp, AnUpstreamThatAnswersNoMoreIsNeverACleanEnd) {
  server_.ShrinkWindows();
  Pair pair = Connected();
  const int inside = SocketConnectedTo(server_.port());
  ASSERT_GE(inside, 0);
  const unsigned patience_ms = 400;
  ASSERT_EQ(setsockopt(inside, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof patience_ms), 0);

  const std::string chunk(16'000, 'u');
  EXPECT_TRUE(Eventually([&] { return !pair.client->Write(chunk); }));

  EXPECT_EQ(pair.client->end(), TlsClient::End::kReset);
  const auto closed = front_.Next<ConnectionClosed>();
  ASSERT_TRUE(closed);
  EXPECT_EQ(closed->reason, "upstream reset");
}

TEST_F(Tcp, AResetOfTheClientIsAResetForTheUpstream) {
  Pair pair = Connected();

  pair.client->Reset();

  EXPECT_EQ(ReadToEnd(pair.upstream.get()), std::nullopt);
  EXPECT_EQ(errno, ECONNRESET);
}

// The kernel tells it to the answer that is sent between two reads of what the client had said before: after
// the one that reads as much as it can.
TEST_F(Tcp, AResetOfTheClientWhileItsKeyUpdatesAreAnsweredIsNeverACleanEnd) {
  server_.ShrinkWindows();
  for (int i = 0; i < 40; ++i) {
    Pair pair = Connected();
    ShrinkSendBufferTo(server_.port());
    WidenWindow(SocketConnectedTo(SocketAddress::Local(pair.client->fd()).port()));
    WriteWithKeyUpdates(*pair.client);

    pair.client->Reset();

    ASSERT_FALSE(ReadToEnd(pair.upstream.get()));
    ASSERT_EQ(errno, ECONNRESET);
    const auto closed = front_.Next<ConnectionClosed>();
    ASSERT_TRUE(closed);
    ASSERT_EQ(closed->reason, "connection reset");
  }
}

TEST_F(Tcp, NothingFollowsOurCloseNotifySoThatAClientThatClosesLosesNothing) {
  server_.ShrinkWindows();
  Pair pair = Connected();
  ShrinkSendBufferTo(server_.port());
  shutdown(pair.upstream.get(), SHUT_WR);
  EXPECT_EQ(pair.client->ReadToEnd(), "");
  const std::string written = WriteWithKeyUpdates(*pair.client);

  pair.client->CloseNotify();
  pair.client->Drop();

  EXPECT_EQ(ReadToEnd(pair.upstream.get()).value_or("a reset").size(), written.size());
  EXPECT_EQ(front_.Next<ConnectionClosed>()->reason, "closed");
}

TEST_F(Tcp, AProxyThatStopsCutsBothSidesOffAndSaysSo) {
  Pair pair = Connected();

  front_.Close();

  EXPECT_EQ(ReadToEnd(pair.upstream.get()), std::nullopt);
  EXPECT_EQ(errno, ECONNRESET);
  pair.client->ReadToEnd();
  EXPECT_EQ(pair.client->end(), TlsClient::End::kReset);
  const auto closed = front_.Next<ConnectionClosed>();
  ASSERT_TRUE(closed);
  EXPECT_EQ(closed->reason, "proxy stopped");
  EXPECT_EQ(closed->upstream, Name(server_.port()));
  EXPECT_EQ(closed->bytes_received, 1U);
}

TEST_F(Tcp, AProxyThatStopsResetsAClientThatWaitsForItsUpstream) {
  front_.SetRouting({.addresses = {}, .answered = false});
  TlsClient client(front_.port());
  ASSERT_TRUE(client.Handshake());
  ASSERT_TRUE(front_.established.Take());

  front_.Close();

  client.ReadToEnd();
  EXPECT_EQ(client.end(), TlsClient::End::kReset);
  const auto closed = front_.Next<ConnectionClosed>();
  ASSERT_TRUE(closed);
  EXPECT_EQ(closed->reason, "proxy stopped");
  EXPECT_EQ(closed->upstream, "");
}

TEST_F(Tcp, TheNextAddressIsTriedWhenOneRefuses) {
  const uint16_t refused = ClosedPort();
  Route({refused, server_.port()});

  Pair pair = Connected();

  const auto event = front_.Next<ConnectFailed>();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->upstream, Name(refused));
  EXPECT_EQ(event->reason, "Connection refused");
}

TEST_F(Tcp, TheNextAddressIsTriedWhenOneDoesNotAnswer) {
  // A listener whose backlog is full drops what comes.
  const UniqueFd full(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const SocketAddress any = Loopback(0);
  ASSERT_EQ(bind(full.get(), any.get(), any.size()), 0);
  ASSERT_EQ(listen(full.get(), 0), 0);
  const SocketAddress address = SocketAddress::Local(full.get());
  std::vector<UniqueFd> fillers;
  for (int i = 0; i < 4; ++i) {
    fillers.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    (void)connect(fillers.back().get(), address.get(), address.size());
  }
  Route({address.port(), server_.port()}, 100);

  Pair pair = Connected();

  const auto event = front_.Next<ConnectFailed>();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->upstream, Name(address.port()));
  EXPECT_EQ(event->reason, "connect timeout");
}

TEST_F(Tcp, WhenAllAddressesRefuseTheClientIsReset) {
  Route({ClosedPort(), ClosedPort()});
  TlsClient client(front_.port());
  (void)client.Handshake();

  client.ReadToEnd();

  EXPECT_EQ(client.end(), TlsClient::End::kReset);
  EXPECT_TRUE(front_.Next<ConnectFailed>());
  EXPECT_TRUE(front_.Next<ConnectFailed>());
  const auto closed = front_.Next<ConnectionClosed>();
  ASSERT_TRUE(closed);
  EXPECT_EQ(closed->reason, "upstream unreachable");
  EXPECT_EQ(closed->upstream, "");
}

TEST_F(Tcp, AConnectionOnWhichNothingMovesEndsWithTheIdleTimeout) {
  Route({server_.port()}, 5000, 200);
  Pair pair = Connected();

  pair.client->ReadToEnd();

  EXPECT_EQ(pair.client->end(), TlsClient::End::kReset);
  EXPECT_EQ(ReadToEnd(pair.upstream.get()), std::nullopt);
  EXPECT_EQ(front_.Next<ConnectionClosed>()->reason, "idle timeout");
}

TEST(TcpRouting, ThatIsNotAnsweredInTimeResetsTheClient) {
  Front front({.handshake_timeout_ms = 300, .mode = ListenerMode::kTcp});
  front.SetRouting({.addresses = {}, .answered = false});
  TlsClient client(front.port());
  ASSERT_TRUE(client.Handshake());

  client.ReadToEnd();

  EXPECT_EQ(client.end(), TlsClient::End::kReset);
  EXPECT_EQ(front.Next<ConnectionClosed>()->reason, "no upstream was chosen in time");
}

}  // namespace
}  // namespace sealgate::test
