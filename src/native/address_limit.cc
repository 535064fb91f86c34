// SPDX-License-Identifier: Apache-2.0
#include "address_limit.h"

#include <algorithm>
#include <cstring>
#include <random>

namespace sealgate {

namespace {

// SplitMix64's finalizer (Steele, Lea, Flood 2014): every bit of the input moves every bit of the output.
uint64_t Mix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9U;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31);
}

uint64_t Seed() {
  static const uint64_t seed = (uint64_t{std::random_device{}()} << 32) | std::random_device{}();
  return seed;
}

std::array<uint8_t, 16> ClientOf(const SocketAddress& address) {
  static constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  auto bytes = address.mapped();
  const bool ipv4 = std::equal(kMapped.begin(), kMapped.end(), bytes.begin());
  if (!ipv4) std::fill(bytes.begin() + 8, bytes.end(), uint8_t{0});
  return bytes;
}

}  // namespace

size_t AddressLimit::Hash::operator()(const Client& client) const {
  uint64_t halves[2];
  std::memcpy(halves, client.data(), client.size());
  return static_cast<size_t>(Mix(Mix(halves[0] ^ Seed()) ^ halves[1]));
}

std::optional<AddressLimit::Place> AddressLimit::Enter(const SocketAddress& address) {
  const Client client = ClientOf(address);
  Part& part = PartOf(client);
  const std::lock_guard lock(part.mutex);
  const auto [entry, fresh] = part.open.try_emplace(client, 0);
  if (entry->second >= limit_) return std::nullopt;
  ++entry->second;
  return Place(this, client);
}

void AddressLimit::Leave(const Client& client) {
  Part& part = PartOf(client);
  const std::lock_guard lock(part.mutex);
  const auto entry = part.open.find(client);
  if (--entry->second == 0) part.open.erase(entry);
}

size_t AddressLimit::clients() const {
  size_t sum = 0;
  for (const Part& part : parts_) {
    const std::lock_guard lock(part.mutex);
    sum += part.open.size();
  }
  return sum;
}

}  // namespace sealgate
