// SPDX-License-Identifier: Apache-2.0
// Peers that do not speak TLS, or speak it oddly: each connection ends as it should, and the others do not
// notice.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <random>

#include "support/front.h"
#include "support/tls_client.h"

namespace sealgate::test {
namespace {

constexpr std::string_view kFatal{"\x02", 1};

// The alert of a record of type 21 (RFC 8446 §6); -1 when it is something else.
int AlertIn(const std::string& wire) {
  return wire.size() == 7 && wire[0] == 21 && wire.substr(5, 1) == kFatal ? static_cast<uint8_t>(wire[6])
                                                                          : -1;
}

// The ClientHello of OpenSSL's client.
std::string ClientHello() {
  const SslCtxPtr ctx(SSL_CTX_new(TLS_client_method()));
  const SslPtr ssl(SSL_new(ctx.get()));
  SSL_set_tlsext_host_name(ssl.get(), "one.example");
  SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  SSL_connect(ssl.get());
  ERR_clear_error();
  char* data = nullptr;
  const long size = BIO_get_mem_data(SSL_get_wbio(ssl.get()), &data);
  return {data, static_cast<size_t>(size)};
}

void ExpectOthersUndisturbed(Front& front) {
  TlsClient client(front.port());
  EXPECT_TRUE(client.Handshake());
}

TEST(BadInput, GarbageEndsInAnAlert) {
  Front front;
  std::mt19937 random(1);  // always the same garbage
  for (int i = 0; i < 50; ++i) {
    std::string garbage(1 + random() % 3000, '\0');
    for (char& byte : garbage) byte = static_cast<char>(random());
    const UniqueFd fd = ConnectTo(front.port());
    SendAll(fd.get(), garbage);
    shutdown(fd.get(), SHUT_WR);

    const auto answer = ReadToEnd(fd.get());

    if (answer && !answer->empty()) {
      EXPECT_GE(AlertIn(*answer), 0) << "garbage " << i;
    }
    const auto failed = front.Next<HandshakeFailed>();
    ASSERT_TRUE(failed);
    EXPECT_FALSE(failed->reason.empty());
  }
  ExpectOthersUndisturbed(front);
}

TEST(BadInput, PlaintextHttpGetsA400InClearText) {
  Front front;
  const UniqueFd fd = ConnectTo(front.port());
  SendAll(fd.get(), "GET / HTTP/1.1\r\nHost: one.example\r\n\r\n");

  const auto answer = ReadToEnd(fd.get());

  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->substr(0, 26), "HTTP/1.1 400 Bad Request\r\n");
  const size_t body = answer->find("\r\n\r\n") + 4;
  EXPECT_NE(answer->find("Content-Length: " + std::to_string(answer->size() - body)), std::string::npos);
  EXPECT_EQ(front.Next<HandshakeFailed>()->reason, "http request");
}

TEST(BadInput, PlaintextHttpGetsNoHttpFromATcpListener) {
  Front front({.mode = ListenerMode::kTcp});
  const UniqueFd fd = ConnectTo(front.port());
  SendAll(fd.get(), "GET / HTTP/1.1\r\n\r\n");

  EXPECT_EQ(ReadToEnd(fd.get()).value_or("").find("HTTP"), std::string::npos);
}

TEST(BadInput, AHugeClientHelloIsRefused) {
  Front front;
  const UniqueFd fd = ConnectTo(front.port());
  // One handshake message of 16 MB in records of 16 KB: what the length field allows at most.
  std::string record("\x16\x03\x01\x40\x00", 5);
  record += std::string("\x01\xff\xff\xff\x03\x03", 6);
  record.resize(5 + 0x4000, 'a');
  std::string more = record;
  std::fill(more.begin() + 5, more.end(), 'a');
  SendAll(fd.get(), record);
  for (int i = 0; i < 20; ++i) SendAll(fd.get(), more);
  shutdown(fd.get(), SHUT_WR);

  const auto answer = ReadToEnd(fd.get());
  if (answer) {
    EXPECT_GE(AlertIn(*answer), 0);
  }
  EXPECT_EQ(front.Next<HandshakeFailed>()->reason, "excessive message size");
  ExpectOthersUndisturbed(front);
}

TEST(BadInput, AClientHelloMayComeByteByByte) {
  Front front;
  const UniqueFd fd = ConnectTo(front.port());
  for (const char byte : ClientHello()) SendAll(fd.get(), std::string_view(&byte, 1));

  EXPECT_EQ(ReadExactly(fd.get(), 3), "\x16\x03\x03");  // ServerHello
  EXPECT_EQ(front.signatures_requested(), 1U);
}

TEST(BadInput, HalfAClientHelloThenNothingEndsWithTheTimeout) {
  Front front({.handshake_timeout_ms = 200});
  const std::string hello = ClientHello();
  const UniqueFd fd = ConnectTo(front.port());
  SendAll(fd.get(), std::string_view(hello).substr(0, hello.size() / 2));

  EXPECT_EQ(ReadToEnd(fd.get()), "");
  EXPECT_EQ(front.Next<HandshakeFailed>()->reason, "timeout");
  EXPECT_EQ(front.signatures_requested(), 0U);
}

TEST(BadInput, HalfAClientHelloThenTheEndIsAPeerThatClosed) {
  Front front;
  const std::string hello = ClientHello();
  UniqueFd fd = ConnectTo(front.port());
  SendAll(fd.get(), std::string_view(hello).substr(0, hello.size() / 2));
  fd.reset();

  EXPECT_EQ(front.Next<HandshakeFailed>()->reason, "peer closed");
}

TEST(BadInput, EveryPrefixOfAClientHelloIsSurvived) {
  Front front({.threads = 2});
  const std::string hello = ClientHello();
  for (size_t size = 1; size < hello.size(); size += 3) {
    const UniqueFd fd = ConnectTo(front.port());
    SendAll(fd.get(), std::string_view(hello).substr(0, size));
  }
  EXPECT_TRUE(Eventually([&] { return front.handshakes_failed() >= hello.size() / 3; }));
  ExpectOthersUndisturbed(front);
}

TEST(BadInput, ABrokenRecordAfterTheHandshakeResetsTheConnection) {
  Front front;
  Worker worker(front);
  TlsClient client(front.port(), {.version = TLS1_3_VERSION});
  ASSERT_TRUE(client.Handshake());
  ASSERT_TRUE(client.Write("good"));
  auto plain = worker.Next();
  ASSERT_TRUE(plain);
  EXPECT_EQ(ReadExactly(plain->fd.get(), 4), "good");

  SendAll(client.fd(), std::string("\x17\x03\x03\x00\x20", 5) + std::string(32, 'x'));

  EXPECT_EQ(ReadToEnd(plain->fd.get()).value_or(""), "");
  EXPECT_TRUE(Eventually([&] { return front.open_connections() == 0; }));
}

}  // namespace
}  // namespace sealgate::test
