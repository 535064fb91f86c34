// SPDX-License-Identifier: Apache-2.0
#include "socket.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <unistd.h>
#include <uv.h>

#include <array>
#include <cstring>

namespace sealgate {

namespace {

// strerror_r is of two kinds: GNU's returns the text, POSIX's fills the buffer.
[[maybe_unused]] const char* TextOf(const char* text, const char* /*buffer*/) { return text; }
[[maybe_unused]] const char* TextOf(int /*result*/, const char* buffer) { return buffer; }

}  // namespace

void UniqueFd::reset(int fd) {
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
}

std::optional<SocketAddress> SocketAddress::Parse(const std::string& host, uint16_t port) {
  SocketAddress address;
  if (uv_ip4_addr(host.c_str(), port, &address.address_.v4) == 0) return address;
  if (uv_ip6_addr(host.c_str(), port, &address.address_.v6) == 0) return address;
  return std::nullopt;
}

SocketAddress SocketAddress::OfIpv4(std::span<const uint8_t, 4> bytes, uint16_t port) {
  SocketAddress address;
  address.address_.v4.sin_family = AF_INET;
  address.address_.v4.sin_port = htons(port);
  std::memcpy(&address.address_.v4.sin_addr, bytes.data(), bytes.size());
  return address;
}

SocketAddress SocketAddress::OfIpv6(std::span<const uint8_t, 16> bytes, uint16_t port) {
  SocketAddress address;
  address.address_.v6.sin6_family = AF_INET6;
  address.address_.v6.sin6_port = htons(port);
  std::memcpy(&address.address_.v6.sin6_addr, bytes.data(), bytes.size());
  return address;
}

SocketAddress SocketAddress::Local(int fd) {
  SocketAddress address;
  socklen_t size = kCapacity;
  getsockname(fd, address.data(), &size);
  return address;
}

std::string SocketAddress::host() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (family() == AF_INET) {
    uv_ip4_name(&address_.v4, text.data(), text.size());
  } else if (family() == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&address_.v6.sin6_addr)) {
    uv_inet_ntop(AF_INET, &address_.v6.sin6_addr.s6_addr[12], text.data(), text.size());
  } else if (family() == AF_INET6) {
    uv_ip6_name(&address_.v6, text.data(), text.size());
  }
  return text.data();
}

std::array<uint8_t, 16> SocketAddress::mapped() const {
  std::array<uint8_t, 16> bytes{};
  if (family() == AF_INET) {
    bytes[10] = bytes[11] = 0xff;
    std::memcpy(&bytes[12], &address_.v4.sin_addr, 4);
  } else {
    std::memcpy(bytes.data(), &address_.v6.sin6_addr, bytes.size());
  }
  return bytes;
}

uint16_t SocketAddress::port() const {
  return ntohs(family() == AF_INET ? address_.v4.sin_port : address_.v6.sin6_port);
}

std::string ErrnoText(int error) {
  std::array<char, 128> buffer{};
  return TextOf(strerror_r(error, buffer.data(), buffer.size()), buffer.data());
}

void SetNoDelay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void SetResetOnClose(int fd) {
  const linger reset{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

}  // namespace sealgate
