// SPDX-License-Identifier: Apache-2.0
// The process's one piece of shared state: finds who is there, and says so when somebody is not.
#include "registry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

namespace sealgate::test {
namespace {

Handle HandleOn(int ordinal, uint64_t sequence = 1) {
  return sequence * Registry::kMaxThreads + static_cast<uint64_t>(ordinal);
}

TEST(Registry, GivesACommandToTheThreadThatHasTheConnection) {
  const auto a = std::make_shared<Inbox>([] {});
  const auto b = std::make_shared<Inbox>([] {});
  Registry& registry = Registry::Instance();
  const int on_a = registry.AddThread(a, a);
  const int on_b = registry.AddThread(b, b);

  EXPECT_TRUE(registry.Send(HandleOn(on_b, 12345), AbortConnection{HandleOn(on_b, 12345)}));

  EXPECT_TRUE(a->TakeAll().empty());
  const auto commands = b->TakeAll();
  ASSERT_EQ(commands.size(), 1U);
  EXPECT_EQ(std::get<AbortConnection>(commands[0]).handle, HandleOn(on_b, 12345));
  registry.RemoveThread(on_a);
  registry.RemoveThread(on_b);
}

// A signature is for a handshake; whatever else names a connection is for one that has left it behind.
TEST(Registry, GivesSignaturesToTheHandshakeThreadAndTheRestToTheRelayThread) {
  const auto handshakes = std::make_shared<Inbox>([] {});
  const auto relays = std::make_shared<Inbox>([] {});
  Registry& registry = Registry::Instance();
  const int ordinal = registry.AddThread(handshakes, relays);
  const Handle handle = HandleOn(ordinal);

  EXPECT_TRUE(registry.Send(handle, FinishSign{.handle = handle, .signature = {}, .reason = {}}));
  EXPECT_TRUE(registry.Send(handle, ConnectUpstream{handle, {}, 1, 1}));
  EXPECT_TRUE(registry.Send(handle, AbortConnection{handle}));

  const auto signatures = handshakes->TakeAll();
  ASSERT_EQ(signatures.size(), 1U);
  EXPECT_TRUE(std::holds_alternative<FinishSign>(signatures[0]));
  const auto others = relays->TakeAll();
  ASSERT_EQ(others.size(), 2U);
  EXPECT_TRUE(std::holds_alternative<ConnectUpstream>(others[0]));
  EXPECT_TRUE(std::holds_alternative<AbortConnection>(others[1]));
  registry.RemoveThread(ordinal);
}

TEST(Registry, SaysThatAThreadHasGone) {
  auto inbox = std::make_shared<Inbox>([] {});
  Registry& registry = Registry::Instance();
  const int removed = registry.AddThread(inbox, inbox);
  registry.RemoveThread(removed);
  EXPECT_FALSE(registry.Send(HandleOn(removed), Stop{}));

  const int expired = registry.AddThread(inbox, inbox);
  inbox.reset();
  EXPECT_FALSE(registry.Send(HandleOn(expired), Stop{}));
  registry.RemoveThread(expired);

  const auto disconnected = std::make_shared<Inbox>([] {});
  const int ordinal = registry.AddThread(disconnected, disconnected);
  disconnected->Disconnect();
  EXPECT_FALSE(registry.Send(HandleOn(ordinal), Stop{}));
  registry.RemoveThread(ordinal);
}

TEST(Registry, RefusesAThreadWhenItHasNoOrdinalLeft) {
  Registry& registry = Registry::Instance();
  std::vector<std::shared_ptr<Inbox>> inboxes;
  std::vector<int> ordinals;
  for (uint64_t i = 0; i < Registry::kMaxThreads; ++i) {
    inboxes.push_back(std::make_shared<Inbox>([] {}));
    ordinals.push_back(registry.AddThread(inboxes.back(), inboxes.back()));
  }
  std::sort(ordinals.begin(), ordinals.end());
  EXPECT_EQ(std::adjacent_find(ordinals.begin(), ordinals.end()), ordinals.end());
  EXPECT_EQ(ordinals.front(), 0);
  EXPECT_EQ(ordinals.back(), static_cast<int>(Registry::kMaxThreads) - 1);

  const auto one_more = std::make_shared<Inbox>([] {});
  EXPECT_EQ(registry.AddThread(one_more, one_more), -1);

  registry.RemoveThread(500);
  EXPECT_EQ(registry.AddThread(one_more, one_more), 500);
  for (const int ordinal : ordinals) registry.RemoveThread(ordinal);
}

TEST(Registry, FindsAReceiverUntilItsOwnerLetsGo) {
  Registry& registry = Registry::Instance();
  auto receiver = std::make_shared<Receiver>([] {});
  const uint32_t id = registry.AddReceiver(receiver);

  EXPECT_EQ(registry.FindReceiver(id), receiver);
  receiver.reset();
  EXPECT_EQ(registry.FindReceiver(id), nullptr);
  EXPECT_EQ(registry.FindReceiver(id + 1), nullptr);
}

// Senders, and threads that come and go beside them: every command that was taken for delivered is delivered
// or dropped with its inbox, and nobody touches an inbox that is gone.
TEST(Registry, MayBeUsedByAllThreadsAtOnce) {
  Registry& registry = Registry::Instance();
  std::atomic<int> ordinal{-1};
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> accepted{0};
  std::vector<std::thread> senders;
  for (int i = 0; i < 3; ++i) {
    senders.emplace_back([&] {
      while (!stop) {
        const int to = ordinal.load();
        if (to >= 0 && registry.Send(HandleOn(to), AbortConnection{HandleOn(to)})) ++accepted;
      }
    });
  }

  uint64_t taken = 0;
  for (int round = 0; round < 50; ++round) {
    const auto inbox = std::make_shared<Inbox>([] {});
    ordinal = registry.AddThread(inbox, inbox);
    while (taken < accepted / 2 || inbox->TakeAll().empty()) {
      const size_t now = inbox->TakeAll().size();
      taken += now;
      if (now > 0) break;
    }
    registry.RemoveThread(ordinal);
    inbox->Disconnect();
  }
  stop = true;
  for (std::thread& sender : senders) sender.join();

  EXPECT_GT(taken, 0U);
  EXPECT_FALSE(registry.Send(HandleOn(ordinal), Stop{}));
}

}  // namespace
}  // namespace sealgate::test
