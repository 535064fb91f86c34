// SPDX-License-Identifier: Apache-2.0
// Accepting under hardship.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "support/eventually.h"
#include "support/front.h"
#include "support/plain_server.h"
#include "support/tls_client.h"

namespace {
std::atomic<int> network_error = 0;  // for the next accept4
}  // namespace

// Instead of the C library's.
extern "C" int accept4(int fd, sockaddr* address, socklen_t* size, int flags) {
  if (const int error = network_error.exchange(0); error != 0) {
    errno = error;
    return -1;
  }
  return static_cast<int>(syscall(SYS_accept4, fd, address, size, flags));
}

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

// A server that is said to have failed is not asked for a while.
TEST(Accept, HasFailedRatherThanTheUpstreamWhenThereIsNoDescriptorForIt) {
  PlainServer server;
  Front front({.mode = ListenerMode::kTcp});
  front.SetRouting({.addresses = {Loopback(server.port()), Loopback(server.port())}});
  front.SetAnswer(Answer::kHold);
  TlsClient client(front.port());
  client.BeginHandshake();
  const auto request = front.held.Take();
  ASSERT_TRUE(request);
  std::thread handshake([&] { (void)client.Handshake(); });

  {
    const NoDescriptors scarcity;
    Front::Sign(*request);
    const auto failed = front.Next<AcceptFailed>();
    EXPECT_EQ(failed.value_or(AcceptFailed{}).reason, "Too many open files");
    EXPECT_TRUE(front.Next<ConnectionClosed>());
  }
  handshake.join();

  const auto blamed = [](const Event& event) { return std::holds_alternative<ConnectFailed>(event); };
  EXPECT_FALSE(front.events.Take(blamed, std::chrono::milliseconds(0)));
}

TEST(Accept, GoesOnAtOnceAfterAConnectionWhoseNetworkFailed) {
  Front front;
  for (const int error : {ECONNABORTED, ENETDOWN, EPROTO, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH,
                          EOPNOTSUPP, ENETUNREACH}) {
    network_error = error;
    TlsClient client(front.port());
    EXPECT_TRUE(client.Handshake());
    EXPECT_EQ(network_error, 0);
  }

  TlsClient last(front.port());
  last.Drop();
  const auto event = front.events.Take();
  ASSERT_TRUE(event);
  EXPECT_TRUE(std::holds_alternative<HandshakeFailed>(*event));  // and no AcceptFailed before
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
  EXPECT_EQ(front.listener().refused.connections, 1);

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
  EXPECT_EQ(front.listener().refused.handshakes, 1);
}

// The HSM is behind: one handshake waits for it. Whoever needs it as well is turned away with an alert; who
// comes with a ticket does not notice.
TEST(Accept, ASlowHsmShutsOutFullHandshakesAndNotResumedOnes) {
  Front front({.max_handshakes = 1});
  TlsClient visitor(front.port(), {.version = TLS1_2_VERSION});
  ASSERT_TRUE(visitor.Handshake());
  const SslSessionPtr session = visitor.session();
  front.SetAnswer(Answer::kHold);
  TlsClient waiting(front.port());
  waiting.BeginHandshake();
  ASSERT_TRUE(Eventually([&] { return front.listener().signing == 1; }));

  TlsClient full(front.port());
  EXPECT_FALSE(full.Handshake());
  EXPECT_EQ(full.alert(), SSL_AD_INTERNAL_ERROR);
  EXPECT_EQ(front.listener().refused.handshakes, 1);
  EXPECT_EQ(front.signatures_requested(), 2U);  // nobody was asked for the third

  TlsClient resumed(front.port(), {.version = TLS1_2_VERSION, .session = session.get()});
  EXPECT_TRUE(resumed.Handshake());
  EXPECT_TRUE(resumed.resumed());
  Front::Sign(*front.held.Take());
}

TEST(Accept, PastWhatOneAddressMayHaveClosesUnansweredUntilOneHasEnded) {
  Front front({.threads = 4, .max_connections_per_address = 3});
  std::vector<std::unique_ptr<TlsClient>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<TlsClient>(front.port()));
    ASSERT_TRUE(clients.back()->Handshake());
  }

  // Whichever of the four threads accepts it.
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(TlsClient(front.port()).Handshake());
  EXPECT_EQ(front.listener().refused.address, 20);
  EXPECT_EQ(front.listener().clients.clients(), 1U);

  clients.pop_back();
  ASSERT_TRUE(Eventually([&] { return front.open_connections() == 2; }));
  EXPECT_TRUE(TlsClient(front.port()).Handshake());
  clients.clear();
  EXPECT_TRUE(Eventually([&] { return front.listener().clients.clients() == 0U; }));
}

TEST(Accept, BehindABalancerTheAddressIsTheOneThatItNames) {
  Front front({.proxy_networks = {*Network::Parse("127.0.0.0", 8)}, .max_connections_per_address = 1});
  const auto from = [](const std::string& client) {
    return TlsClient::Options{.preface = "PROXY " + client + " 40000 443\r\n"};
  };
  TlsClient first(front.port(), from("TCP4 192.0.2.7 198.51.100.1"));
  ASSERT_TRUE(first.Handshake());
  TlsClient other(front.port(), from("TCP4 192.0.2.8 198.51.100.1"));
  EXPECT_TRUE(other.Handshake());
  TlsClient ipv6(front.port(), from("TCP6 2001:db8:1:2::3 2001:db8::1"));
  EXPECT_TRUE(ipv6.Handshake());
  TlsClient other_network(front.port(), from("TCP6 2001:db8:1:3::3 2001:db8::1"));
  EXPECT_TRUE(other_network.Handshake());

  EXPECT_FALSE(TlsClient(front.port(), from("TCP4 192.0.2.7 198.51.100.1")).Handshake());
  EXPECT_FALSE(TlsClient(front.port(), from("TCP6 2001:db8:1:2::4 2001:db8::1")).Handshake());
  EXPECT_EQ(front.listener().refused.address, 2);
  EXPECT_EQ(front.listener().clients.clients(), 4U);
}

}  // namespace
}  // namespace sealgate::test
