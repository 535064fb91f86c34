// SPDX-License-Identifier: Apache-2.0
// What one thread hands to another: nothing lost, nothing twice, one wake-up for a burst, silence after the
// end.
#include "mailbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <numeric>
#include <thread>

namespace sealgate::test {
namespace {

TEST(Mailbox, WakesOnceForABurst) {
  int wakes = 0;
  Mailbox<int> mailbox([&] { ++wakes; });

  for (int i = 0; i < 100; ++i) mailbox.Push(i);

  EXPECT_EQ(wakes, 1);
  EXPECT_EQ(mailbox.TakeAll().size(), 100U);
  mailbox.Push(100);
  EXPECT_EQ(wakes, 2);
}

TEST(Mailbox, DeliversEverythingOfManyWritersInTheOrderOfEach) {
  constexpr int kWriters = 4;
  constexpr int kEach = 5000;
  std::mutex mutex;
  std::condition_variable woken;
  bool wake = false;
  Mailbox<std::pair<int, int>> mailbox([&] {
    const std::lock_guard lock(mutex);
    wake = true;
    woken.notify_one();
  });
  std::vector<std::thread> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&mailbox, w] {
      for (int i = 0; i < kEach; ++i) mailbox.Push({w, i});
    });
  }

  std::vector<int> next(kWriters, 0);
  int taken = 0;
  while (taken < kWriters * kEach) {
    {
      std::unique_lock lock(mutex);
      ASSERT_TRUE(woken.wait_for(lock, std::chrono::seconds(15), [&] { return wake; })) << taken;
      wake = false;
    }
    for (const auto& [writer, number] : mailbox.TakeAll()) {
      ASSERT_EQ(number, next[static_cast<size_t>(writer)]++);
      ++taken;
    }
  }

  for (std::thread& writer : writers) writer.join();
  EXPECT_TRUE(mailbox.TakeAll().empty());
}

TEST(Mailbox, NeitherWakesNorKeepsAnythingAfterDisconnect) {
  bool alive = true;
  std::atomic<int> wakes_of_the_dead{0};
  Mailbox<std::shared_ptr<int>> mailbox([&] {
    if (!alive) ++wakes_of_the_dead;
  });
  const auto item = std::make_shared<int>(1);
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    while (!stop) mailbox.Push(item);
  });

  mailbox.Disconnect();
  alive = false;  // what wake refers to may go now: that is the promise
  stop = true;
  writer.join();

  EXPECT_FALSE(mailbox.Push(item));
  EXPECT_EQ(wakes_of_the_dead, 0);
  EXPECT_EQ(item.use_count(), 1);
}

}  // namespace
}  // namespace sealgate::test
