// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace sealgate {

// The one way by which threads hand things to each other: many writers, one reader.
//
// Owns:   what was pushed and not taken yet.
// Thread: Push from any; TakeAll from the reader only.
// Wakes:  the reader once for each time the mailbox stops being empty: a burst costs one wake-up.
// Ends:   with Disconnect(): later pushes fall on the floor, and wake is not called again.
template <typename T>
class Mailbox final {
 public:
  explicit Mailbox(std::function<void()> wake) : wake_(std::move(wake)) {}
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // False when nobody reads any more; the item is destroyed then.
  bool Push(T item) {
    const std::lock_guard lock(mutex_);
    if (disconnected_) return false;
    items_.push_back(std::move(item));
    // Under the lock, so that Disconnect() can promise that no wake-up is under way. Wake functions only set
    // a flag (uv_async_send, napi_call_threadsafe_function): they neither block nor come back here.
    if (items_.size() == 1) wake_();
    return true;
  }

  // As Push of each; empties items.
  void PushAll(std::vector<T>& items) {
    const std::lock_guard lock(mutex_);
    if (!disconnected_ && !items.empty()) {
      const bool was_empty = items_.empty();
      for (T& item : items) items_.push_back(std::move(item));
      if (was_empty) wake_();
    }
    items.clear();
  }

  [[nodiscard]] std::vector<T> TakeAll() {
    std::vector<T> taken;
    const std::lock_guard lock(mutex_);
    taken.swap(items_);
    return taken;
  }

  void Disconnect() {
    std::vector<T> dropped;
    const std::lock_guard lock(mutex_);
    disconnected_ = true;
    dropped.swap(items_);
  }

 private:
  std::mutex mutex_;
  std::vector<T> items_;
  bool disconnected_ = false;
  std::function<void()> wake_;
};

}  // namespace sealgate
