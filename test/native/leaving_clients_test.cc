// SPDX-License-Identifier: Apache-2.0
// Ten thousand clients that leave while their signature is pending, each in one of the ways there are. Under
// AddressSanitizer: no suspended handshake, no socket, no request for a signature may be lost or used again.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <filesystem>

#include "support/client_hello.h"
#include "support/front.h"
#include "support/tls_client.h"

namespace sealgate::test {
namespace {

constexpr size_t kClients = 10'000;
// At a time: two descriptors each must fit into a process's limit, and sanitizers multiply memory.
constexpr size_t kCrowd = 1'000;

size_t OpenDescriptors() {
  using Entries = std::filesystem::directory_iterator;
  return static_cast<size_t>(std::distance(Entries("/proc/self/fd"), Entries()));
}

// Two a client, and some for everything else.
void RaiseDescriptorLimit() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 2 * kCrowd + 500);
  setrlimit(RLIMIT_NOFILE, &limit);
}

// The ways a client leaves. The last one also says something first.
void Leave(UniqueFd client, size_t way) {
  switch (way % 4) {
    case 0:
      return;  // FIN, by the destructor
    case 1:
      SetResetOnClose(client.get());
      return;
    case 2:
      shutdown(client.get(), SHUT_WR);  // half-closed: a FIN as well, but the reset comes later
      return;
    default:
      SendAll(client.get(), std::string("\x15\x03\x03\x00\x02\x02\x5a", 7));  // alert user_canceled
  }
}

TEST(LeavingClients, TenThousandWithASignaturePendingLeaveNothingBehind) {
  RaiseDescriptorLimit();
  const std::string hello = ClientHello();
  Front front({.threads = 2});
  front.SetAnswer(Answer::kHold);
  const size_t descriptors = OpenDescriptors();

  for (size_t gone = 0; gone < kClients; gone += kCrowd) {
    std::vector<UniqueFd> clients;
    for (size_t i = 0; i < kCrowd; ++i) {
      clients.push_back(ConnectTo(front.port()));
      SendAll(clients.back().get(), hello);
    }
    ASSERT_TRUE(Eventually([&] { return front.signatures_pending() == kCrowd; }, 4 * kPatience));

    for (size_t i = 0; i < kCrowd; ++i) Leave(std::move(clients[i]), i);

    ASSERT_TRUE(Eventually([&] { return front.open_connections() == 0 && front.signatures_pending() == 0; },
                           4 * kPatience));
    // The HSM answers after all: nobody's signatures, good ones and failures.
    for (size_t i = 0; i < kCrowd; ++i) {
      const auto request = front.held.Take();
      ASSERT_TRUE(request);
      if (i % 2 == 0)
        Front::Sign(*request);
      else
        Front::Fail(*request);
    }
  }

  EXPECT_EQ(front.signatures_requested(), kClients);
  EXPECT_EQ(front.handshakes_failed(), kClients);
  EXPECT_EQ(front.handshakes(false), 0U);
  EXPECT_TRUE(Eventually([&] { return OpenDescriptors() == descriptors; }));
  front.SetAnswer(Answer::kSign);
  TlsClient next(front.port());
  EXPECT_TRUE(next.Handshake());
}

}  // namespace
}  // namespace sealgate::test
