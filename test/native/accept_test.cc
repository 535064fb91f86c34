// SPDX-License-Identifier: Apache-2.0
// Accepting under hardship.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/eventually.h"
#include "support/front.h"
#include "support/tls_client.h"

namespace sealgate::test {
namespace {

// No descriptor is to be had in this process while it lives.
class NoDescriptors final {
 public:
  NoDescriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit few{.rlim_cur = 256, .rlim_max = before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    for (int fd = dup(0); fd >= 0; fd = dup(0)) taken_.emplace_back(fd);
  }
  ~NoDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;

 private:
  rlimit before_{};
  std::vector<UniqueFd> taken_;
};

TEST(Accept, GoesOnWhenThereAreDescriptorsAgain) {
  Front front;
  const UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  {
    const NoDescriptors scarcity;
    const SocketAddress address = Loopback(front.port());
    ASSERT_EQ(connect(client.get(), address.get(), address.size()), 0);
    const auto failed = front.Next<AcceptFailed>();
    ASSERT_TRUE(failed);
    EXPECT_EQ(failed->reason, "Too many open files");
    EXPECT_TRUE(front.Next<AcceptFailed>());  // tried again, after a pause
    EXPECT_EQ(front.listener().handshaking, 0);
  }

  EXPECT_TRUE(Eventually([&] { return front.listener().handshaking == 1; }));
  TlsClient other(front.port());
  EXPECT_TRUE(other.Handshake());
}

TEST(Accept, ResetsAConnectionThatNeedsASocketPairWhenThereIsNone) {
  Front front;
  Worker worker(front);
  TlsClient client(front.port());
  ASSERT_TRUE(client.Handshake());
  {
    const NoDescriptors scarcity;
    ASSERT_TRUE(client.Write("GET /"));
    client.ReadToEnd();
  }

  EXPECT_EQ(client.end(), TlsClient::End::kReset);
  EXPECT_EQ(front.Next<AcceptFailed>()->reason, "Too many open files");
}

TEST(Accept, BeforeThereAreCredentialsClosesTheConnection) {
  auto created = Terminator::Create({.threads = 1,
                                     .handshake_timeout_ms = 1000,
                                     .wake_signs = [] {},
                                     .wake_established = [] {},
                                     .wake_events = [] {}});
  auto& terminator = std::get<std::unique_ptr<Terminator>>(created);
  const int port = terminator->Listen(
      {.id = 1, .mode = ListenerMode::kHttp, .address = Loopback(0), .alpn = {}, .idle_timeout_ms = 0});
  ASSERT_GT(port, 0);

  TlsClient client(static_cast<uint16_t>(port));

  EXPECT_FALSE(client.Handshake());
}

TEST(Accept, PastTheMostConnectionsClosesUnansweredUntilOneHasEnded) {
  Front front({.max_connections = 2});
  auto first = std::make_unique<TlsClient>(front.port());
  TlsClient second(front.port());
  ASSERT_TRUE(first->Handshake());
  ASSERT_TRUE(second.Handshake());

  EXPECT_FALSE(TlsClient(front.port()).Handshake());
  EXPECT_EQ(front.listener().refused, 1);

  first.reset();
  ASSERT_TRUE(Eventually([&] { return front.open_connections() == 1; }));
  EXPECT_TRUE(TlsClient(front.port()).Handshake());
}

TEST(Accept, PastTheMostHandshakesClosesUnansweredAndLeavesOpenConnectionsOut) {
  Front front({.max_handshakes = 1});
  TlsClient open(front.port());
  ASSERT_TRUE(open.Handshake());
  ASSERT_TRUE(Eventually([&] { return front.listener().idle == 1; }));
  const UniqueFd silent = ConnectTo(front.port());
  ASSERT_TRUE(Eventually([&] { return front.listener().handshaking == 1; }));

  EXPECT_FALSE(TlsClient(front.port()).Handshake());
  EXPECT_EQ(front.listener().refused, 1);
}

}  // namespace
}  // namespace sealgate::test
