// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <thread>

namespace sealgate::test {

// Longer than anything takes on a busy machine under a sanitizer; a test that passes never waits for it.
constexpr std::chrono::milliseconds kPatience{15'000};

// Waits for a state that no event announces (a counter of another thread).
template <typename Predicate>
[[nodiscard]] bool Eventually(Predicate holds, std::chrono::milliseconds patience = kPatience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace sealgate::test
