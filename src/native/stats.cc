// SPDX-License-Identifier: Apache-2.0
#include "stats.h"

#include <algorithm>

namespace sealgate {

void ThreadStats::Histogram::Observe(uint64_t ns) {
  const double seconds = static_cast<double>(ns) / 1e9;
  const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), seconds);
  counts[static_cast<size_t>(bound - kBounds.begin())].fetch_add(1, std::memory_order_relaxed);
  sum_ns.fetch_add(ns, std::memory_order_relaxed);
}

}  // namespace sealgate
