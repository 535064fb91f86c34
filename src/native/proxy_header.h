// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "socket.h"

namespace sealgate {

// The header with which a balancer says whose connection it passes on: the PROXY protocol, versions 1 and 2
// (HAProxy's proxy-protocol.txt, sections 2.1 and 2.2).
//
// It ends where TLS begins, so nothing behind it may be taken from the socket: Take() says how much is its
// own.
class ProxyHeader final {
 public:
  enum class Result : uint8_t { kMore, kDone, kMalformed };

  // Takes the bytes at the front that belong to the header. Call it until it says something else than kMore.
  Result Take(std::span<const uint8_t> bytes, size_t* taken);

  // After kDone: the peer that the header names. None: the balancer speaks for itself (LOCAL, a health check)
  // or does not know (UNKNOWN), and the connection's own address counts.
  [[nodiscard]] const std::optional<SocketAddress>& source() const { return source_; }

 private:
  Result Look();
  Result LookV1();
  Result LookV2();

  std::vector<uint8_t> bytes_;
  std::optional<SocketAddress> source_;
};

}  // namespace sealgate
