// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "socket.h"

namespace sealgate {

// A range of addresses, 10.0.0.0/8. An IPv4 address that comes as IPv4-mapped IPv6 is the IPv4 address.
class Network final {
 public:
  // Null when host is no IP address or has fewer than prefix bits.
  [[nodiscard]] static std::optional<Network> Parse(const std::string& host, uint32_t prefix);
  // No address is in it.
  [[nodiscard]] static Network None() { return {}; }
  [[nodiscard]] bool Contains(const SocketAddress& address) const;

 private:
  std::array<uint8_t, 16> bytes_{};
  uint32_t prefix_ = 0;  // of the 128 bits of the mapped form
  bool none_ = true;
};

}  // namespace sealgate
