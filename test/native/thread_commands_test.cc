// SPDX-License-Identifier: Apache-2.0
// Commands to TLS threads, from several threads at once, and the connections they are about. No client speaks
// here: without a byte there is no SSL, so ThreadSanitizer sees everything that happens.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <thread>

#include "support/front.h"
#include "support/tls_client.h"

namespace sealgate::test {
namespace {

TEST(ThreadCommands, SilentConnectionsAreCountedAndForgottenWhenTheyLeave) {
  Front front({.threads = 2});
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(ConnectTo(front.port()));

  EXPECT_TRUE(Eventually([&] { return front.listener().handshaking == 50; }));
  clients.clear();
  EXPECT_TRUE(Eventually([&] { return front.open_connections() == 0; }));
}

TEST(ThreadCommands, ASilentConnectionEndsWithTheHandshakeTimeout) {
  Front front({.handshake_timeout_ms = 100});
  const UniqueFd client = ConnectTo(front.port());

  EXPECT_EQ(ReadToEnd(client.get()), "");

  const auto failed = front.Next<HandshakeFailed>();
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->reason, "timeout");
  EXPECT_EQ(failed->peer, "127.0.0.1");
  EXPECT_GE(failed->duration_ms, 98);  // the loop's clock counts whole milliseconds
}

// The handle of a connection is known to nobody before its handshake asks for something; it is counted from 1
// on.
TEST(ThreadCommands, AbortResetsAConnectionFromAnyThread) {
  Front front;
  const UniqueFd client = ConnectTo(front.port());
  ASSERT_TRUE(Eventually([&] { return front.listener().handshaking == 1; }));

  std::vector<std::thread> aborters;
  for (int i = 0; i < 4; ++i) {
    aborters.emplace_back([&] {
      for (uint64_t ordinal = 0; ordinal < Registry::kMaxThreads; ++ordinal)
        front.terminator().threads().front()->inbox().Push(AbortConnection{Registry::kMaxThreads + ordinal});
    });
  }
  for (std::thread& aborter : aborters) aborter.join();

  char byte = 0;
  EXPECT_EQ(recv(client.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST(ThreadCommands, CommandsForConnectionsThatAreGoneAreIgnored) {
  Front front({.threads = 2});
  const Handle nobody = 999 * Registry::kMaxThreads;
  for (Handle handle = nobody; handle < nobody + Registry::kMaxThreads; ++handle) {
    Registry::Instance().Send(handle, FinishSign{.handle = handle, .signature = Bytes(64, 1), .reason = {}});
    Registry::Instance().Send(handle, AbortConnection{handle});
    Registry::Instance().Send(handle, ConnectUpstream{handle, {}, 1, 1});
  }

  const UniqueFd client = ConnectTo(front.port());
  EXPECT_TRUE(Eventually([&] { return front.listener().handshaking == 1; }));
}

TEST(ThreadCommands, EverythingMayChangeWhileConnectionsComeAndGo) {
  Front front({.threads = 2});
  std::atomic<bool> stop{false};
  std::vector<std::thread> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&] {
      while (!stop) const UniqueFd client = ConnectTo(front.port());
    });
  }
  std::thread reader([&] {
    while (!stop) {
      EXPECT_GE(front.handshakes_failed() + 1, 1U);
      EXPECT_EQ(front.signatures_pending(), 0);
    }
  });

  for (uint8_t round = 0; round < 30; ++round) {
    const auto swapped =
        front.terminator().SetCredentials(Endpoints({Credentials({"one.example"}, {KeyKind::kP256})}));
    EXPECT_TRUE(std::holds_alternative<std::monostate>(swapped));
    front.terminator().SetTicketKeys({TicketKey(round), TicketKey(1)});
    Worker worker(front);
    const int port = front.terminator().Listen({.id = 100U + round,
                                                .mode = ListenerMode::kTcp,
                                                .address = Loopback(0),
                                                .alpn = {},
                                                .idle_timeout_ms = 0});
    ASSERT_GT(port, 0);
    const UniqueFd passing = ConnectTo(static_cast<uint16_t>(port));
    front.terminator().StopListening(100U + round);
  }
  stop = true;
  for (std::thread& client : clients) client.join();
  reader.join();
  front.Close();
}

TEST(ThreadCommands, ClosingWithOpenConnectionsFreesThemAndMayBeRepeated) {
  Front front({.threads = 2});
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(ConnectTo(front.port()));
  ASSERT_TRUE(Eventually([&] { return front.listener().handshaking == 20; }));

  front.terminator().Close();
  front.terminator().Close();

  EXPECT_EQ(front.open_connections(), 0);
  for (const UniqueFd& client : clients) EXPECT_EQ(ReadToEnd(client.get()), "");
}

TEST(Listen, TakesNoPortOnWhichSomebodyListens) {
  Front one;
  Front two;

  const int result = two.terminator().Listen({.id = 8,
                                              .mode = ListenerMode::kHttp,
                                              .address = Loopback(one.port()),
                                              .alpn = {},
                                              .idle_timeout_ms = 0});

  EXPECT_EQ(result, -EADDRINUSE);
}

TEST(Listen, StopAcceptsWhatIsInTheBacklog) {
  Front front({.threads = 2});
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 40; ++i) clients.push_back(ConnectTo(front.port()));

  front.terminator().StopListening(7);

  EXPECT_TRUE(Eventually([&] { return front.listener().handshaking == 40; }));
  ASSERT_TRUE(Eventually([&] {
    const UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const SocketAddress address = Loopback(front.port());
    return connect(fd.get(), address.get(), address.size()) != 0 && errno == ECONNREFUSED;
  }));
}

}  // namespace
}  // namespace sealgate::test
