// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sealgate {

// Bytes that a socket did not take yet. Empty, and without memory, for a peer that keeps up.
class Backlog final {
 public:
  [[nodiscard]] bool empty() const { return start_ == bytes_.size(); }
  [[nodiscard]] std::span<const uint8_t> unsent() const { return std::span(bytes_).subspan(start_); }
  void Append(std::span<const uint8_t> bytes);
  void Consume(size_t count);
  // The memory it holds.
  [[nodiscard]] size_t capacity() const { return bytes_.capacity(); }

 private:
  std::vector<uint8_t> bytes_;
  size_t start_ = 0;
};

enum class WriteResult : uint8_t { kDone, kBlocked, kBroken };

// Sends the backlog, then the bytes; what the socket does not take is appended to the backlog. One system
// call when the peer keeps up.
[[nodiscard]] WriteResult SendOrKeep(int fd, Backlog& backlog, std::span<const uint8_t> bytes);

}  // namespace sealgate
