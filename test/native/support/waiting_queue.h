// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "support/eventually.h"

namespace sealgate::test {

// What one thread of a test waits for and another one brings.
template <typename T>
class WaitingQueue final {
 public:
  void Push(T item) {
    const std::lock_guard lock(mutex_);
    items_.push_back(std::move(item));
    changed_.notify_all();
  }

  // The first item that matches, taken out; nullopt when none has come in time.
  template <typename Predicate>
  [[nodiscard]] std::optional<T> Take(Predicate matches, std::chrono::milliseconds patience = kPatience) {
    std::unique_lock lock(mutex_);
    auto found = items_.end();
    changed_.wait_for(lock, patience, [&] {
      found = std::find_if(items_.begin(), items_.end(), matches);
      return found != items_.end();
    });
    if (found == items_.end()) return std::nullopt;
    std::optional<T> item(std::move(*found));
    items_.erase(found);
    return item;
  }
  [[nodiscard]] std::optional<T> Take(std::chrono::milliseconds patience = kPatience) {
    return Take([](const T&) { return true; }, patience);
  }

  [[nodiscard]] size_t size() {
    const std::lock_guard lock(mutex_);
    return items_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<T> items_;
};

}  // namespace sealgate::test
