// SPDX-License-Identifier: Apache-2.0
// File descriptors and socket addresses.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace sealgate {

// Owns one file descriptor.
class UniqueFd final {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  ~UniqueFd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

// An IPv4 or IPv6 address with its port: 28 bytes, as one connection keeps it.
class SocketAddress final {
 public:
  SocketAddress() = default;
  // host is an IP address; IPv6 may carry a scope (fe80::1%eth0).
  [[nodiscard]] static std::optional<SocketAddress> Parse(const std::string& host, uint16_t port);
  // In network order, as on the wire.
  [[nodiscard]] static SocketAddress OfIpv4(std::span<const uint8_t, 4> bytes, uint16_t port);
  [[nodiscard]] static SocketAddress OfIpv6(std::span<const uint8_t, 16> bytes, uint16_t port);
  [[nodiscard]] static SocketAddress Local(int fd);

  [[nodiscard]] std::string host() const;  // IPv4-mapped IPv6 is shown as IPv4
  [[nodiscard]] uint16_t port() const;
  // In network order; IPv4 as IPv4-mapped IPv6 (RFC 4291 §2.5.5.2).
  [[nodiscard]] std::array<uint8_t, 16> mapped() const;
  [[nodiscard]] int family() const { return address_.v6.sin6_family; }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address_); }
  [[nodiscard]] sockaddr* data() { return reinterpret_cast<sockaddr*>(&address_); }
  [[nodiscard]] socklen_t size() const {
    return family() == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  }
  static constexpr socklen_t kCapacity = sizeof(sockaddr_in6);

 private:
  union {
    sockaddr_in v4;
    sockaddr_in6 v6;
  } address_{};
};

// What strerror says, which may not be called by several threads.
[[nodiscard]] std::string ErrnoText(int error);

void SetNoDelay(int fd);
// The next close() sends a reset instead of a FIN: the peer cannot take what it got for the whole.
void SetResetOnClose(int fd);

}  // namespace sealgate
