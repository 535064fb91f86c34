// SPDX-License-Identifier: Apache-2.0
// What a handshake costs that waits for its turn: nothing. It is counted in what epoll reports, because that
// is where the cost was: a socket that stays watched is reported in every round of the loop, so that n
// waiting handshakes cost n² reports, and a flood of a few thousand kept a TLS thread from doing anything
// else.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <atomic>
#include <future>

#include "support/client_hello.h"
#include "support/front.h"
#include "support/tls_client.h"

namespace {

std::atomic<uint64_t> reported{0};

int Counted(int reports) {
  if (reports > 0) reported += static_cast<uint64_t>(reports);
  return reports;
}

}  // namespace

// In front of the C library's: libuv's loops call these. Which one depends on its version.
extern "C" int epoll_wait(int epoll, epoll_event* events, int capacity, int timeout) {
  static const auto next = reinterpret_cast<decltype(&epoll_wait)>(dlsym(RTLD_NEXT, "epoll_wait"));
  return Counted(next(epoll, events, capacity, timeout));
}

extern "C" int epoll_pwait(int epoll, epoll_event* events, int capacity, int timeout, const sigset_t* mask) {
  static const auto next = reinterpret_cast<decltype(&epoll_pwait)>(dlsym(RTLD_NEXT, "epoll_pwait"));
  return Counted(next(epoll, events, capacity, timeout, mask));
}

namespace sealgate::test {
namespace {

// As many as a listening socket's backlog may hold where net.core.somaxconn is an old kernel's or a
// container's.
constexpr size_t kClients = 1'000;

// The TLS thread stops in its first handshake until all clients have connected and said their hello; so they
// all wait for their turn at the same time, and a turn is at most one millisecond's worth of handshakes.
TEST(WaitingTurn, AHandshakeThatWaitsIsNotReportedInEveryRound) {
  std::promise<void> everybody_is_here;
  std::shared_future<void> gate = everybody_is_here.get_future().share();
  const std::string hello = ClientHello();
  Front front({.on_sign_wake = [gate] { gate.wait(); }});
  front.SetAnswer(Answer::kHold);
  std::vector<UniqueFd> clients;
  for (size_t i = 0; i < kClients; ++i) {
    clients.push_back(ConnectTo(front.port()));
    SendAll(clients.back().get(), hello);
  }
  const uint64_t before = reported;

  everybody_is_here.set_value();
  ASSERT_TRUE(Eventually([&] { return front.signatures_pending() == kClients; }, 4 * kPatience));

  // To be accepted, to be heard, and once more to be put aside; and the thread's own wake-ups and accepts.
  const uint64_t reports = reported - before;
  RecordProperty("reports", std::to_string(reports));
  EXPECT_GE(reports, kClients);
  EXPECT_LE(reports, 4 * kClients);
}

}  // namespace
}  // namespace sealgate::test
