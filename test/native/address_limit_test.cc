// SPDX-License-Identifier: Apache-2.0
// Connections of each client, counted by all threads in one place. Also under ThreadSanitizer.
#include "address_limit.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace sealgate::test {
namespace {

SocketAddress At(const std::string& host) { return *SocketAddress::Parse(host, 1234); }

TEST(AddressLimit, IsOfOneAddressAndEndsWithItsConnections) {
  AddressLimit limit(2);
  auto first = limit.Enter(At("192.0.2.1"));
  {
    const auto second = limit.Enter(At("192.0.2.1"));
    EXPECT_TRUE(first && second);
    EXPECT_FALSE(limit.Enter(At("192.0.2.1")));
    EXPECT_TRUE(limit.Enter(At("192.0.2.2")));
  }
  EXPECT_TRUE(limit.Enter(At("192.0.2.1")));
  EXPECT_EQ(limit.clients(), 1U);
  first.reset();
  EXPECT_EQ(limit.clients(), 0U);
}

TEST(AddressLimit, TakesAnIpv6NetworkOf64BitsForOneClientAndMappedIpv4ForIpv4) {
  AddressLimit limit(1);
  const auto v6 = limit.Enter(At("2001:db8:0:1::1"));
  const auto v4 = limit.Enter(At("192.0.2.1"));
  ASSERT_TRUE(v6 && v4);

  EXPECT_FALSE(limit.Enter(At("2001:db8:0:1:ffff:ffff:ffff:ffff")));
  EXPECT_TRUE(limit.Enter(At("2001:db8:0:2::1")));
  EXPECT_FALSE(limit.Enter(At("::ffff:192.0.2.1")));
  EXPECT_TRUE(limit.Enter(At("::ffff:192.0.2.2")));
}

TEST(AddressLimit, IsExactWhenManyThreadsEnterAtOnce) {
  constexpr uint32_t kLimit = 10;
  AddressLimit limit(kLimit);
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::atomic<int> refused{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) {
        std::vector<AddressLimit::Place> places;
        for (int each = 0; each < 5; ++each) {
          auto place = limit.Enter(At("192.0.2.1"));
          if (!place) {
            ++refused;
            continue;
          }
          places.push_back(std::move(*place));
          const int now = ++inside;
          int before = most;
          while (now > before && !most.compare_exchange_weak(before, now)) {
          }
        }
        inside -= static_cast<int>(places.size());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_LE(most, static_cast<int>(kLimit));
  EXPECT_EQ(limit.clients(), 0U);
  std::vector<AddressLimit::Place> places;
  for (uint32_t i = 0; i < kLimit; ++i) places.push_back(std::move(*limit.Enter(At("192.0.2.1"))));
  EXPECT_FALSE(limit.Enter(At("192.0.2.1")));
}

}  // namespace
}  // namespace sealgate::test
