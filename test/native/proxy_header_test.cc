// SPDX-License-Identifier: Apache-2.0
// The PROXY protocol: what is a header, where it ends, and what becomes of a connection that begins with one.
#include "proxy_header.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>
#include <string_view>

#include "network.h"
#include "support/eventually.h"
#include "support/front.h"
#include "support/tls_client.h"

namespace sealgate::test {
namespace {

using Result = ProxyHeader::Result;
using namespace std::string_literals;

std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

const std::string kSignature = "\r\n\r\n\0\r\nQUIT\n"s;

std::string V2(char command, char family, const std::string& payload) {
  return kSignature + command + family + static_cast<char>(payload.size() >> 8) +
         static_cast<char>(payload.size() & 0xff) + payload;
}

const std::string kV1 = "PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n";
const std::string kV2Tcp4 = V2('\x21', '\x11', "\xc0\x00\x02\x07\xc6\x33\x64\x01\x9c\x40\x01\xbb"s);
const std::string kV2Tcp6 = V2(
    '\x21', '\x21',
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x9c\x40\x01\xbb"s);
const std::string kTlv = "\x04\x00\x02no"s;  // PP2_TYPE_NOOP

struct Named {
  std::string header;
  std::string host;  // empty: the header names nobody
};

class Header : public testing::TestWithParam<Named> {};

TEST_P(Header, IsTakenWholeAndNoByteMoreWhereverItIsSplit) {
  const auto& [header, host] = GetParam();
  const std::string sent = header + "\x16\x03\x01";
  for (size_t split = 0; split <= sent.size(); ++split) {
    ProxyHeader proxy;
    size_t first = 0;
    size_t second = 0;
    Result result = proxy.Take(Bytes(sent).first(split), &first);
    if (result == Result::kMore) result = proxy.Take(Bytes(sent).subspan(first), &second);

    ASSERT_EQ(result, Result::kDone) << "split at " << split;
    EXPECT_EQ(first + second, header.size()) << "split at " << split;
    EXPECT_EQ(proxy.source() ? proxy.source()->host() : "", host);
    if (proxy.source()) {
      EXPECT_EQ(proxy.source()->port(), 40000);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    ProxyProtocol, Header,
    testing::Values(Named{kV1, "192.0.2.7"},
                    Named{"PROXY TCP6 2001:db8::7 2001:db8::1 40000 443\r\n", "2001:db8::7"},
                    Named{"PROXY UNKNOWN\r\n", ""},
                    Named{"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", ""}, Named{kV2Tcp4, "192.0.2.7"},
                    Named{kV2Tcp6, "2001:db8::7"},
                    Named{V2('\x21', '\x11', kV2Tcp4.substr(16) + kTlv), "192.0.2.7"},
                    Named{V2('\x20', '\x00', ""), ""},    // LOCAL: the balancer's own health check
                    Named{V2('\x21', '\x00', kTlv), ""},  // UNSPEC
                    Named{V2('\x21', '\x31', std::string(216, 'x')), ""}));  // a socket in the file system

class NoHeader : public testing::TestWithParam<std::string> {};

TEST_P(NoHeader, IsRefused) {
  ProxyHeader proxy;
  size_t taken = 0;
  EXPECT_EQ(proxy.Take(Bytes(GetParam()), &taken), Result::kMalformed);
  EXPECT_FALSE(proxy.source() && GetParam().starts_with("GET"));
}

INSTANTIATE_TEST_SUITE_P(
    ProxyProtocol, NoHeader,
    testing::Values("GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01"s, "PROXY\r\n",
                    "PROXY  TCP4 1.2.3.4 1.2.3.4 1 1\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
                    "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n", "PROXY TCP4 1.2.3 1.2.3.4 1 1\r\n",
                    "PROXY TCP4 ::1 ::1 1 1\r\n", "PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n",
                    "PROXY TCP6 fe80::1%lo ::1 1 1\r\n", "PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n",
                    "PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n",
                    "PROXY TCP4 1.2.3.4 1.2.3.4 1x 1\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 000001\r\n",
                    "PROXY TCP4 " + std::string(200, '1'), "\r\n\r\n\0\r\nQUIX"s,
                    V2('\x31', '\x11', kV2Tcp4.substr(16)), V2('\x22', '\x11', kV2Tcp4.substr(16)),
                    V2('\x21', '\x12', kV2Tcp4.substr(16)), V2('\x21', '\x11', "\xc0\x00\x02"s),
                    V2('\x21', '\x21', std::string(35, 'x')), kSignature + "\x21\x11\xff\xff"s));

TEST(Network, HasTheAddressesBehindItsPrefix) {
  const auto contains = [](const char* network, uint32_t prefix, const char* host) {
    return Network::Parse(network, prefix)->Contains(*SocketAddress::Parse(host, 1));
  };
  EXPECT_TRUE(contains("10.0.0.0", 8, "10.255.255.255"));
  EXPECT_FALSE(contains("10.0.0.0", 8, "11.0.0.0"));
  EXPECT_TRUE(contains("10.1.2.128", 25, "10.1.2.200"));
  EXPECT_FALSE(contains("10.1.2.128", 25, "10.1.2.127"));
  EXPECT_TRUE(contains("10.1.2.3", 32, "::ffff:10.1.2.3"));
  EXPECT_TRUE(contains("0.0.0.0", 0, "203.0.113.9"));
  EXPECT_FALSE(contains("0.0.0.0", 0, "2001:db8::1"));
  EXPECT_TRUE(contains("2001:db8::", 32, "2001:db8:1::1"));
  EXPECT_FALSE(contains("2001:db8::", 32, "2001:db9::1"));
  EXPECT_TRUE(contains("::", 0, "2001:db8::1"));
  EXPECT_FALSE(Network::Parse("10.0.0.0", 33));
  EXPECT_FALSE(Network::Parse("::1", 129));
  EXPECT_FALSE(Network::Parse("example", 8));
  EXPECT_FALSE(Network::None().Contains(*SocketAddress::Parse("127.0.0.1", 1)));
}

Front::Options BehindBalancer(const char* network) {
  return {.alpn = {"http/1.1"}, .proxy_networks = {*Network::Parse(network, 8)}};
}

TEST(ProxiedConnection, IsTheClientsWhomTheHeaderNames) {
  for (const std::string& header : {kV1, kV2Tcp4}) {
    Front front(BehindBalancer("127.0.0.0"));
    Worker worker(front);
    TlsClient client(front.port(), {.preface = header});
    ASSERT_TRUE(client.Handshake());
    ASSERT_TRUE(client.Write("GET /"));

    const auto connection = worker.Next();

    ASSERT_TRUE(connection);
    EXPECT_EQ(connection->facts.peer, "192.0.2.7");
    EXPECT_EQ(connection->facts.peer_port, 40000);
  }
}

TEST(ProxiedConnection, MayGetItsHeaderByteByByte) {
  Front front(BehindBalancer("127.0.0.0"));
  const UniqueFd socket = ConnectTo(front.port());
  for (const char byte : kV2Tcp6 + "no TLS") {
    SendAll(socket.get(), {&byte, 1});
  }

  const auto failed = front.Next<HandshakeFailed>();

  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->peer, "2001:db8::7");
  EXPECT_NE(failed->reason, "no PROXY header");
}

TEST(ProxiedConnection, WithoutItsHeaderIsClosedUnanswered) {
  Front front(BehindBalancer("127.0.0.0"));
  TlsClient client(front.port());
  EXPECT_FALSE(client.Handshake());

  const auto failed = front.Next<HandshakeFailed>();

  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->reason, "no PROXY header");
  EXPECT_EQ(failed->peer, "127.0.0.1");
  EXPECT_EQ(client.alert(), -1);
}

TEST(ProxiedConnection, FromElsewhereCannotClaimAnAddress) {
  Front front(BehindBalancer("10.0.0.0"));
  TlsClient liar(front.port(), {.preface = kV1});
  EXPECT_FALSE(liar.Handshake());
  const auto failed = front.Next<HandshakeFailed>();
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->peer, "127.0.0.1");

  TlsClient honest(front.port());
  EXPECT_TRUE(honest.Handshake());
}

TEST(ProxiedConnection, ThatEndsInTheMiddleOfItsHeaderIsForgotten) {
  Front front(BehindBalancer("127.0.0.0"));
  {
    const UniqueFd socket = ConnectTo(front.port());
    SendAll(socket.get(), kV1.substr(0, 10));
    ASSERT_TRUE(Eventually([&] { return front.listener().handshaking == 1; }));
  }

  const auto failed = front.Next<HandshakeFailed>();

  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->reason, "peer closed");
  EXPECT_TRUE(Eventually([&] { return front.open_connections() == 0; }));
}

TEST(ProxiedConnection, ThatNeverFinishesItsHeaderTimesOut) {
  Front::Options options = BehindBalancer("127.0.0.0");
  options.handshake_timeout_ms = 100;
  Front front(options);
  const UniqueFd socket = ConnectTo(front.port());
  SendAll(socket.get(), kV1.substr(0, 10));

  const auto failed = front.Next<HandshakeFailed>();

  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->reason, "timeout");
}

}  // namespace
}  // namespace sealgate::test
