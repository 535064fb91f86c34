// SPDX-License-Identifier: Apache-2.0
#include "proxy_header.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <string_view>

namespace sealgate {

namespace {

constexpr std::string_view kV1Prefix = "PROXY ";
constexpr size_t kV1Limit = 107;  // section 2.1, CRLF included
constexpr std::array<uint8_t, 12> kV2Signature = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                                  0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
constexpr size_t kV2FixedBytes = 16;
// Addresses and TLVs. The format allows 65,535; what balancers send is a tenth of this.
constexpr size_t kV2Limit = 4096;

constexpr uint8_t kV2Local = 0x20;
constexpr uint8_t kV2Proxy = 0x21;
constexpr uint8_t kUnspecified = 0x00;
constexpr uint8_t kTcp4 = 0x11;
constexpr uint8_t kTcp6 = 0x21;
constexpr uint8_t kUnixStream = 0x31;

size_t Number16(std::span<const uint8_t> at) { return size_t{at[0]} << 8 | at[1]; }

std::optional<uint16_t> ParsePort(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || text.size() > 5) return std::nullopt;
  return port;
}

std::vector<std::string_view> SplitAtSpaces(std::string_view text) {
  std::vector<std::string_view> words;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

std::optional<SocketAddress> ParseAddress(std::string_view host, std::string_view port, int family) {
  const auto number = ParsePort(port);
  if (!number || host.find('%') != std::string_view::npos) return std::nullopt;
  auto address = SocketAddress::Parse(std::string(host), *number);
  if (!address || address->family() != family) return std::nullopt;
  return address;
}

}  // namespace

// Byte by byte: a header is short, comes once for each connection, and may end anywhere in what was read.
ProxyHeader::Result ProxyHeader::Take(std::span<const uint8_t> bytes, size_t* taken) {
  Result result = Result::kMore;
  for (*taken = 0; *taken < bytes.size() && result == Result::kMore; ++*taken) {
    bytes_.push_back(bytes[*taken]);
    result = Look();
  }
  return result;
}

ProxyHeader::Result ProxyHeader::Look() { return bytes_[0] == kV2Signature[0] ? LookV2() : LookV1(); }

ProxyHeader::Result ProxyHeader::LookV1() {
  const std::string_view text(reinterpret_cast<const char*>(bytes_.data()), bytes_.size());
  if (!kV1Prefix.starts_with(text.substr(0, kV1Prefix.size()))) return Result::kMalformed;
  if (!text.ends_with("\r\n")) return text.size() < kV1Limit ? Result::kMore : Result::kMalformed;
  const auto words = SplitAtSpaces(text.substr(0, text.size() - 2));
  if (words.size() > 1 && words[1] == "UNKNOWN") return Result::kDone;
  if (words.size() != 6) return Result::kMalformed;
  const int family = words[1] == "TCP4" ? AF_INET : words[1] == "TCP6" ? AF_INET6 : AF_UNSPEC;
  source_ = ParseAddress(words[2], words[4], family);
  return source_ && ParseAddress(words[3], words[5], family) ? Result::kDone : Result::kMalformed;
}

ProxyHeader::Result ProxyHeader::LookV2() {
  const std::span<const uint8_t> bytes(bytes_);
  const size_t known = std::min(bytes.size(), kV2Signature.size());
  if (!std::equal(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(known), kV2Signature.begin()))
    return Result::kMalformed;
  if (bytes.size() < kV2FixedBytes) return Result::kMore;
  const uint8_t command = bytes[12];
  const uint8_t family = bytes[13];
  const size_t length = Number16(bytes.subspan(14));
  if ((command != kV2Local && command != kV2Proxy) || length > kV2Limit) return Result::kMalformed;
  if (bytes.size() < kV2FixedBytes + length) return Result::kMore;
  if (command == kV2Local) return Result::kDone;
  const auto addresses = bytes.subspan(kV2FixedBytes);
  switch (family) {
    case kUnspecified:
    case kUnixStream:
      return Result::kDone;
    case kTcp4:
      if (length < 12) return Result::kMalformed;
      source_ =
          SocketAddress::OfIpv4(addresses.first<4>(), static_cast<uint16_t>(Number16(addresses.subspan(8))));
      return Result::kDone;
    case kTcp6:
      if (length < 36) return Result::kMalformed;
      source_ = SocketAddress::OfIpv6(addresses.first<16>(),
                                      static_cast<uint16_t>(Number16(addresses.subspan(32))));
      return Result::kDone;
    default:
      return Result::kMalformed;
  }
}

}  // namespace sealgate
