// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace sealgate {

// What one TLS thread counts. Written by that thread, read by the main thread at any time.
struct ThreadStats {
  // Seconds: 500 µs (resumed, idle machine) to 10 s (the default handshake timeout). +Inf follows.
  static constexpr std::array<double, 14> kBounds = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                                     0.1,    0.25,  0.5,    1,     2.5,  5,     10};

  struct Histogram {
    std::array<std::atomic<uint64_t>, kBounds.size() + 1> counts{};
    std::atomic<uint64_t> sum_ns{0};

    void Observe(uint64_t ns);
  };

  // Index: 0 = TLSv1.2, 1 = TLSv1.3; then 0 = full, 1 = resumed.
  std::array<std::array<std::atomic<uint64_t>, 2>, 2> handshakes{};
  std::atomic<uint64_t> handshakes_failed{0};
  std::array<Histogram, 2> handshake_seconds{};  // 0 = full, 1 = resumed
  std::atomic<int64_t> signatures_pending{0};
};

}  // namespace sealgate
