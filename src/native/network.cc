// SPDX-License-Identifier: Apache-2.0
#include "network.h"

namespace sealgate {

namespace {
constexpr uint32_t kMappedBits = 96;  // ::ffff:0:0/96, RFC 4291 §2.5.5.2
}

std::optional<Network> Network::Parse(const std::string& host, uint32_t prefix) {
  const auto address = SocketAddress::Parse(host, 0);
  if (!address || prefix > (address->family() == AF_INET ? 32 : 128)) return std::nullopt;
  Network network;
  network.bytes_ = address->mapped();
  network.prefix_ = prefix + (address->family() == AF_INET ? kMappedBits : 0);
  network.none_ = false;
  return network;
}

bool Network::Contains(const SocketAddress& address) const {
  if (none_) return false;
  const auto bytes = address.mapped();
  for (uint32_t bit = 0; bit < prefix_; bit += 8) {
    const uint32_t left = prefix_ - bit;
    const auto mask = static_cast<uint8_t>(left >= 8 ? 0xff : 0xff << (8 - left));
    if (((bytes[bit / 8] ^ bytes_[bit / 8]) & mask) != 0) return false;
  }
  return true;
}

}  // namespace sealgate
