// SPDX-License-Identifier: Apache-2.0
// Session tickets: one set of keys for all threads, and what their rotation does to tickets that are out.
#include <gtest/gtest.h>

#include "support/front.h"
#include "support/tls_client.h"

namespace sealgate::test {
namespace {

// A handshake, and a byte to the worker and back: TLS 1.3 tickets come after the handshake.
SslSessionPtr TicketOf(TlsClient& client, Worker& worker) {
  if (!client.Handshake() || !client.Write("x")) return nullptr;
  const auto plain = worker.Next();
  if (!plain) return nullptr;
  SendAll(plain->fd.get(), "y");
  EXPECT_EQ(client.ReadExactly(1), "y");
  client.CloseNotify();
  return client.session();
}

class Resumption : public testing::TestWithParam<int> {
 protected:
  Front front_{{.threads = 2}};
  Worker worker_{front_};

  SslSessionPtr FreshTicket() {
    TlsClient client(front_.port(), {.version = GetParam()});
    return TicketOf(client, worker_);
  }
};

// Which thread gets a connection is the kernel's choice: in 40 connections both get some.
TEST_P(Resumption, WorksOnEveryThreadAndNeedsNoSignature) {
  SslSessionPtr ticket = FreshTicket();
  ASSERT_NE(ticket, nullptr);
  const uint64_t signatures = front_.signatures_requested();

  for (int i = 0; i < 40; ++i) {
    TlsClient client(front_.port(), {.version = GetParam(), .session = ticket.get()});
    SslSessionPtr renewed = TicketOf(client, worker_);
    ASSERT_TRUE(client.resumed()) << "attempt " << i << " resumable "
                                  << SSL_SESSION_is_resumable(ticket.get());
    ASSERT_NE(renewed, nullptr);  // a TLS 1.3 client may not use the old one again
    ticket = std::move(renewed);
  }

  EXPECT_EQ(front_.signatures_requested(), signatures);
  for (const auto& thread : front_.terminator().threads()) {
    const size_t version = GetParam() == TLS1_3_VERSION ? 1 : 0;
    EXPECT_GT(thread->stats().handshakes[version][1].load(), 0U);
  }
}

TEST_P(Resumption, WithAnOldKeySucceedsAndBringsATicketOfTheNewOne) {
  const SslSessionPtr old_ticket = FreshTicket();
  ASSERT_NE(old_ticket, nullptr);
  front_.terminator().SetTicketKeys({TicketKey(2), TicketKey(1)});

  TlsClient client(front_.port(), {.version = GetParam(), .session = old_ticket.get()});
  const SslSessionPtr renewed = TicketOf(client, worker_);
  ASSERT_TRUE(client.resumed());
  ASSERT_NE(renewed, nullptr);

  front_.terminator().SetTicketKeys({TicketKey(2)});  // what the old key made is worth nothing now
  TlsClient again(front_.port(), {.version = GetParam(), .session = renewed.get()});
  ASSERT_TRUE(again.Handshake());
  EXPECT_TRUE(again.resumed());
}

TEST_P(Resumption, WithAForgottenKeyBecomesAFullHandshake) {
  const SslSessionPtr ticket = FreshTicket();
  ASSERT_NE(ticket, nullptr);
  front_.terminator().SetTicketKeys({TicketKey(3), TicketKey(2)});

  TlsClient client(front_.port(), {.version = GetParam(), .session = ticket.get()});

  ASSERT_TRUE(client.Handshake());
  EXPECT_FALSE(client.resumed());
  EXPECT_EQ(front_.signatures_requested(), 2U);
}

TEST_P(Resumption, GoesOnAfterACredentialsSwap) {
  const SslSessionPtr ticket = FreshTicket();
  ASSERT_NE(ticket, nullptr);
  const auto swapped =
      front_.terminator().SetCredentials(Endpoints({Credentials({"one.example"}, {KeyKind::kRsa2048})}));
  ASSERT_TRUE(std::holds_alternative<std::monostate>(swapped));

  TlsClient client(front_.port(), {.version = GetParam(), .session = ticket.get()});

  ASSERT_TRUE(client.Handshake());
  EXPECT_TRUE(client.resumed());
}

// Names stand together by who can sign for them, which changes when an HSM goes away.
TEST_P(Resumption, GoesOnWhenTheNameStandsBesideOthers) {
  const SslSessionPtr ticket = FreshTicket();
  ASSERT_NE(ticket, nullptr);
  const auto swapped = front_.terminator().SetCredentials(
      Endpoints({Credentials({"a.example", "one.example", "*.example"}, {KeyKind::kRsa2048})}));
  ASSERT_TRUE(std::holds_alternative<std::monostate>(swapped));

  TlsClient client(front_.port(), {.version = GetParam(), .session = ticket.get()});

  ASSERT_TRUE(client.Handshake());
  EXPECT_TRUE(client.resumed());
}

TEST_P(Resumption, IsNotForAnotherNamesCertificate) {
  const auto set = front_.terminator().SetCredentials(Endpoints(
      {Credentials({"one.example"}, {KeyKind::kP256}), Credentials({"two.example"}, {KeyKind::kP256})}));
  ASSERT_TRUE(std::holds_alternative<std::monostate>(set));
  const SslSessionPtr ticket = FreshTicket();
  ASSERT_NE(ticket, nullptr);

  TlsClient client(front_.port(),
                   {.version = GetParam(), .server_name = "two.example", .session = ticket.get()});

  ASSERT_TRUE(client.Handshake());
  EXPECT_FALSE(client.resumed());
}

// Two hosts of one wildcard: in TLS 1.3 the certificate is for both, in TLS 1.2 the name is the session's.
TEST_P(Resumption, UnderAnotherNameOfTheCertificateTellsTheNameThatIsAskedFor) {
  const auto set =
      front_.terminator().SetCredentials(Endpoints({Credentials({"*.example"}, {KeyKind::kP256})}));
  ASSERT_TRUE(std::holds_alternative<std::monostate>(set));
  const auto visit = [&](const std::string& name) {
    const SslSessionPtr ticket = FreshTicket();
    TlsClient client(front_.port(), {.version = GetParam(), .server_name = name, .session = ticket.get()});
    EXPECT_TRUE(client.Handshake());
    EXPECT_TRUE(client.Write("x"));
    const auto plain = worker_.Next();
    return std::pair(client.resumed(), plain ? plain->facts.server_name : "nobody");
  };

  EXPECT_EQ(visit("two.example"), std::pair(GetParam() == TLS1_3_VERSION, std::string("two.example")));
  EXPECT_EQ(visit(""), std::pair(GetParam() == TLS1_3_VERSION, std::string()));
  EXPECT_TRUE(visit("One.Example").first);
}

TEST_P(Resumption, OfASessionWithoutANameIsWithoutOne) {
  for (const std::string name : {"", "one.example"}) {
    TlsClient nameless(front_.port(), {.version = GetParam(), .server_name = ""});
    const SslSessionPtr ticket = TicketOf(nameless, worker_);
    ASSERT_NE(ticket, nullptr);

    TlsClient client(front_.port(), {.version = GetParam(), .server_name = name, .session = ticket.get()});

    ASSERT_TRUE(client.Handshake());
    EXPECT_EQ(client.resumed(), name.empty() || GetParam() == TLS1_3_VERSION);
  }
}

// Whether a ticket for one.example, made where http is spoken without ALPN, is taken at a second listener.
class ResumptionAtAnotherListener : public Resumption {
 protected:
  [[nodiscard]] bool Resumes(ListenerSpec other, const std::string& name = "one.example") {
    other.id = Front::kListenerId + 1;
    other.address = Loopback(0);
    std::vector<EndpointSpec> endpoints = Endpoints({Credentials({"one.example"}, {KeyKind::kP256})});
    endpoints.push_back(Endpoints({Credentials({name}, {KeyKind::kRsa2048})}).front());
    endpoints.back().listener_ids = {other.id};
    const auto set = front_.terminator().SetCredentials(endpoints);
    EXPECT_TRUE(std::holds_alternative<std::monostate>(set));
    const int port = front_.terminator().Listen(other);
    EXPECT_GT(port, 0);
    const SslSessionPtr ticket = FreshTicket();
    EXPECT_NE(ticket, nullptr);
    TlsClient client(static_cast<uint16_t>(port), {.version = GetParam(), .session = ticket.get()});
    EXPECT_TRUE(client.Handshake());
    return client.resumed();
  }
};

TEST_P(ResumptionAtAnotherListener, WorksWhereTheNameIsServedInTheSameWay) { EXPECT_TRUE(Resumes({})); }

TEST_P(ResumptionAtAnotherListener, IsRefusedInAnotherMode) {
  EXPECT_FALSE(Resumes({.mode = ListenerMode::kTcp}));
}

TEST_P(ResumptionAtAnotherListener, IsRefusedWithAnotherAlpnList) {
  EXPECT_FALSE(Resumes({.alpn = {"http/1.1"}}));
}

TEST_P(ResumptionAtAnotherListener, IsRefusedWhereTheNameIsUnknown) {
  EXPECT_FALSE(Resumes({}, "two.example"));
}

TEST_P(Resumption, IsNotOfferedWithoutTicketKeys) {
  front_.terminator().SetTicketKeys({});

  EXPECT_EQ(FreshTicket(), nullptr);
  EXPECT_TRUE(Eventually([&] { return front_.handshakes(false) == 1; }));
}

constexpr auto VersionName = [](const auto& info) {
  return info.param == TLS1_3_VERSION ? std::string("tls13") : std::string("tls12");
};
INSTANTIATE_TEST_SUITE_P(Tls, Resumption, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION), VersionName);
INSTANTIATE_TEST_SUITE_P(Tls, ResumptionAtAnotherListener, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         VersionName);

}  // namespace
}  // namespace sealgate::test
