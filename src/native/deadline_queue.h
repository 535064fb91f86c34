// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <queue>
#include <utility>
#include <vector>

#include "messages.h"

namespace sealgate {

// Who is to be looked at, and when. Entries are never removed early: whoever is found decides whether the
// entry still means anything, so that moving a deadline costs nothing. Loop thread only.
class DeadlineQueue final {
 public:
  void Add(uint64_t when, Handle handle) { entries_.emplace(when, handle); }
  [[nodiscard]] bool empty() const { return entries_.empty(); }
  [[nodiscard]] uint64_t next() const { return entries_.top().first; }

  std::pair<uint64_t, Handle> Pop() {
    const auto entry = entries_.top();
    entries_.pop();
    return entry;
  }

 private:
  using Entry = std::pair<uint64_t, Handle>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> entries_;
};

}  // namespace sealgate
