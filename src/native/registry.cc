// SPDX-License-Identifier: Apache-2.0
#include "registry.h"

#include <utility>

namespace sealgate {

Registry& Registry::Instance() {
  static Registry registry;
  return registry;
}

int Registry::AddThread(const std::shared_ptr<Inbox>& handshakes, const std::shared_ptr<Inbox>& relays) {
  const std::lock_guard lock(mutex_);
  if (threads_.size() == kMaxThreads) return -1;
  while (threads_.contains(next_ordinal_))
    next_ordinal_ = (next_ordinal_ + 1) % static_cast<int>(kMaxThreads);
  const int ordinal = next_ordinal_;
  next_ordinal_ = (next_ordinal_ + 1) % static_cast<int>(kMaxThreads);
  threads_.emplace(ordinal, Inboxes{handshakes, relays});
  return ordinal;
}

void Registry::RemoveThread(int ordinal) {
  const std::lock_guard lock(mutex_);
  threads_.erase(ordinal);
}

uint32_t Registry::AddReceiver(const std::shared_ptr<Receiver>& receiver) {
  const std::lock_guard lock(mutex_);
  std::erase_if(receivers_, [](const auto& entry) { return entry.second.expired(); });
  receivers_.emplace(next_receiver_, receiver);
  return next_receiver_++;
}

std::shared_ptr<Receiver> Registry::FindReceiver(uint32_t id) {
  const std::lock_guard lock(mutex_);
  const auto found = receivers_.find(id);
  return found == receivers_.end() ? nullptr : found->second.lock();
}

bool Registry::Send(Handle handle, Command command) {
  std::shared_ptr<Inbox> inbox;
  {
    const std::lock_guard lock(mutex_);
    const auto found = threads_.find(static_cast<int>(handle % kMaxThreads));
    if (found != threads_.end()) {
      const auto& [handshakes, relays] = found->second;
      inbox = (std::holds_alternative<FinishSign>(command) ? handshakes : relays).lock();
    }
  }
  return inbox != nullptr && inbox->Push(std::move(command));
}

}  // namespace sealgate
