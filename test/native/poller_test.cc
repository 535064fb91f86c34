// SPDX-License-Identifier: Apache-2.0
// What many descriptors of one loop are told: what they wait for, nothing else, and nothing once they are
// gone.
#include "poller.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <vector>

#include "loop_timer.h"

namespace sealgate::test {
namespace {

struct Told {
  int status;
  int events;
  bool operator==(const Told&) const = default;
};

class Target final : public PollHandle::Target {
 public:
  std::vector<Told> told;
  std::function<void()> then = [] {};

  void OnPoll(PollHandle& /*handle*/, int status, int events) override {
    told.push_back({status, events});
    then();
  }
};

struct Pair {
  Pair() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    ours.reset(fds[0]);
    theirs.reset(fds[1]);
  }
  void Say() const { EXPECT_EQ(send(theirs.get(), "x", 1, 0), 1); }
  void Fill() const {
    const std::vector<char> much(size_t{64} * 1024);
    while (send(ours.get(), much.data(), much.size(), 0) > 0) {
    }
  }

  UniqueFd ours;
  UniqueFd theirs;
};

class PollerTest : public testing::Test {
 protected:
  PollerTest() {
    uv_loop_init(&loop_);
    poller_ = Poller::Create(&loop_);
  }
  ~PollerTest() override {
    poller_.reset();
    uv_run(&loop_, UV_RUN_DEFAULT);
    EXPECT_EQ(uv_loop_close(&loop_), 0);
  }

  // Level-triggered: what is there to be told is told in each round.
  void Rounds(int count = 1) {
    for (int i = 0; i < count; ++i) uv_run(&loop_, UV_RUN_NOWAIT);
  }

  uv_loop_t loop_{};
  std::unique_ptr<Poller> poller_;
};

TEST_F(PollerTest, TellsWhatIsWaitedForInEachRound) {
  Pair pair;
  Target target;
  const auto handle = PollHandle::Create(*poller_, pair.ours.get(), UV_READABLE, &target);
  Rounds(3);
  EXPECT_TRUE(target.told.empty());

  pair.Say();
  Rounds(3);

  EXPECT_EQ(target.told, (std::vector<Told>(3, {0, UV_READABLE})));
}

TEST_F(PollerTest, TellsNothingThatIsNotWaitedFor) {
  Pair pair;
  Target target;
  const auto handle = PollHandle::Create(*poller_, pair.ours.get(), UV_READABLE, &target);
  pair.Say();

  handle->Watch(0);
  Rounds(3);
  EXPECT_TRUE(target.told.empty());

  handle->Watch(UV_WRITABLE);
  Rounds();
  EXPECT_EQ(target.told, (std::vector<Told>{{0, UV_WRITABLE}}));

  handle->Watch(UV_READABLE | UV_WRITABLE);
  Rounds();
  EXPECT_EQ(target.told.back(), (Told{0, UV_READABLE | UV_WRITABLE}));
}

TEST_F(PollerTest, WatchesAgainWhatItHasLetGoOf) {
  Pair pair;
  Target target;
  const auto handle = PollHandle::Create(*poller_, pair.ours.get(), UV_READABLE, &target);
  pair.Say();
  handle->Watch(0);
  Rounds(3);  // the kernel has been told

  handle->Watch(UV_READABLE);
  Rounds();

  EXPECT_EQ(target.told, (std::vector<Told>{{0, UV_READABLE}}));
}

TEST_F(PollerTest, BeginsWithNothingWhereNothingIsAskedFor) {
  Pair pair;
  Target target;
  const auto handle = PollHandle::Create(*poller_, pair.ours.get(), 0, &target);
  pair.Say();
  pair.theirs.reset();
  Rounds(3);

  EXPECT_TRUE(target.told.empty());
}

// Not a round without sleep while nobody waits for anything: the loop of a thread would never rest.
TEST_F(PollerTest, SleepsWhenThePeerHasGoneAndNobodyWaits) {
  Pair pair;
  Target target;
  const auto handle = PollHandle::Create(*poller_, pair.ours.get(), UV_READABLE, &target);
  handle->Watch(0);
  pair.theirs.reset();
  Rounds(3);

  bool over = false;
  LoopTimer timer(&loop_, [&] { over = true; });
  timer.Start(50, 0);
  int rounds = 0;
  for (; !over; ++rounds) uv_run(&loop_, UV_RUN_ONCE);

  EXPECT_LE(rounds, 3);
  EXPECT_TRUE(target.told.empty());
}

TEST_F(PollerTest, TellsWhoWaitsToWriteThatThePeerHasGone) {
  Pair pair;
  pair.Fill();
  Target target;
  const auto handle = PollHandle::Create(*poller_, pair.ours.get(), UV_WRITABLE, &target);
  Rounds();
  EXPECT_TRUE(target.told.empty());

  pair.theirs.reset();
  Rounds();

  ASSERT_EQ(target.told.size(), 1U);
}

TEST_F(PollerTest, TellsThatThePeerSaysNoMore) {
  Pair pair;
  Target target;
  const auto handle = PollHandle::Create(*poller_, pair.ours.get(), UV_DISCONNECT, &target);
  pair.Say();
  Rounds();
  EXPECT_TRUE(target.told.empty());

  shutdown(pair.theirs.get(), SHUT_WR);
  Rounds();

  EXPECT_EQ(target.told, (std::vector<Told>{{0, UV_DISCONNECT}}));
}

TEST_F(PollerTest, TellsAnErrorOnceAndWatchesNoMore) {
  Pair pair;
  Target target;
  const auto handle = PollHandle::Create(*poller_, pair.ours.get(), UV_READABLE, &target);
  // Bytes that were never read: the end that is closed says so with an error.
  EXPECT_EQ(send(pair.ours.get(), "x", 1, 0), 1);
  pair.theirs.reset();

  Rounds(3);

  ASSERT_EQ(target.told.size(), 1U);
  EXPECT_LT(target.told[0].status, 0);
}

TEST_F(PollerTest, TellsNothingToWhoHasGoneInTheSameRound) {
  Pair pairs[2];
  Target targets[2];
  std::unique_ptr<PollHandle> handles[2];
  for (int i = 0; i < 2; ++i) {
    handles[i] = PollHandle::Create(*poller_, pairs[i].ours.get(), UV_READABLE, &targets[i]);
    // Whoever is told first takes both away, itself included.
    targets[i].then = [&] {
      for (auto& handle : handles) handle.reset();
    };
    pairs[i].Say();
  }

  Rounds(2);

  EXPECT_EQ(targets[0].told.size() + targets[1].told.size(), 1U);
}

TEST_F(PollerTest, MayGoInACallback) {
  Pair pairs[2];
  Target targets[2];
  std::unique_ptr<PollHandle> handles[2];
  for (int i = 0; i < 2; ++i) {
    handles[i] = PollHandle::Create(*poller_, pairs[i].ours.get(), UV_READABLE, &targets[i]);
    targets[i].then = [&] {
      for (auto& handle : handles) handle.reset();
      poller_.reset();
    };
    pairs[i].Say();
  }

  Rounds(2);

  EXPECT_EQ(targets[0].told.size() + targets[1].told.size(), 1U);
}

// More than are asked for at once.
TEST_F(PollerTest, ForgetsNobodyWhenManyAreReady) {
  constexpr size_t kMany = 400;
  std::vector<Pair> pairs(kMany);
  std::vector<Target> targets(kMany);
  std::vector<std::unique_ptr<PollHandle>> handles;
  for (size_t i = 0; i < kMany; ++i) {
    handles.push_back(PollHandle::Create(*poller_, pairs[i].ours.get(), UV_READABLE, &targets[i]));
    targets[i].then = [&, i] { handles[i]->Watch(0); };
    pairs[i].Say();
  }

  Rounds(6);

  for (const Target& target : targets) EXPECT_EQ(target.told.size(), 1U);
}

TEST_F(PollerTest, RefusesWhatCannotBePolled) {
  Target target;
  EXPECT_EQ(PollHandle::Create(*poller_, -1, UV_READABLE, &target), nullptr);
}

TEST_F(PollerTest, KeepsTheLoopAliveWhileSomebodyWaits) {
  Pair pair;
  Target target;
  EXPECT_EQ(uv_loop_alive(&loop_), 0);

  auto handle = PollHandle::Create(*poller_, pair.ours.get(), UV_READABLE, &target);
  EXPECT_NE(uv_loop_alive(&loop_), 0);

  handle.reset();
  EXPECT_EQ(uv_loop_alive(&loop_), 0);
}

}  // namespace
}  // namespace sealgate::test
