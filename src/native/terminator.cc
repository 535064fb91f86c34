// SPDX-License-Identifier: Apache-2.0
#include "terminator.h"

#include <cerrno>

#include "registry.h"

namespace sealgate {

namespace {

Bytes AlpnWireForm(const std::vector<std::string>& protocols) {
  Bytes wire;
  for (const std::string& protocol : protocols) {
    wire.push_back(static_cast<uint8_t>(protocol.size()));
    wire.insert(wire.end(), protocol.begin(), protocol.end());
  }
  return wire;
}

// A client that resumes speaks the protocol of the first time. A session of a mail server's must not go on at
// a web server that has the same name and the same ticket keys.
SessionBinding BindingOf(const ListenerState& listener) {
  std::string words = listener.mode == ListenerMode::kTcp ? "tcp " : "http ";
  words.append(listener.alpn_protocols.begin(), listener.alpn_protocols.end());
  return BindingTo(words);
}

}  // namespace

Terminator::Created Terminator::Create(Options options) {
  const ErrorQueueScope errors;
  const uint32_t count = options.threads;
  const uint32_t handshake_timeout_ms = options.handshake_timeout_ms;
  std::unique_ptr<Terminator> made(new Terminator(std::move(options)));
  made->library_ = CryptoLibrary::Create();
  if (made->library_ == nullptr) return FailureWithQueue("OpenSSL does not take our provider");
  for (uint32_t i = 0; i < count; ++i) {
    auto relays = TlsThread::Start(&made->mailboxes_, {.handshake_timeout_ms = handshake_timeout_ms});
    if (relays == nullptr) return OpensslFailure{"a relay thread could not be started", {}};
    made->relays_.push_back(std::move(relays));
    auto thread = TlsThread::Start(&made->mailboxes_, {.handshake_timeout_ms = handshake_timeout_ms,
                                                       .relays = made->relays_.back().get()});
    if (thread == nullptr) return OpensslFailure{"a TLS thread could not be started", {}};
    made->threads_.push_back(std::move(thread));
  }
  return made;
}

Terminator::Terminator(Options options)
    : context_options_{.key_log_fd = options.key_log_fd},
      mailboxes_{.signs = Mailbox<SignRequest>(std::move(options.wake_signs)),
                 .established = Mailbox<Established>(std::move(options.wake_established)),
                 .events = Mailbox<Event>(std::move(options.wake_events))} {}

Terminator::~Terminator() { Close(); }

template <typename MakeCommand>
void Terminator::SendToAll(MakeCommand make) {
  for (const auto& thread : threads_) thread->inbox().Push(make());
}

std::variant<std::monostate, OpensslFailure> Terminator::SetCredentials(
    const std::vector<EndpointSpec>& endpoints) {
  auto created = Contexts::Create(*library_, endpoints, context_options_);
  if (auto* failure = std::get_if<OpensslFailure>(&created)) return std::move(*failure);
  const auto contexts = std::get<std::shared_ptr<const Contexts>>(created);
  SendToAll([&] { return SwapContexts{contexts}; });
  return std::monostate();
}

void Terminator::SetTicketKeys(std::vector<Bytes> keys) {
  const auto shared = TicketKeys::Create(library_->ticket_cipher(), std::move(keys));
  SendToAll([&] { return SwapTicketKeys{shared}; });
}

void Terminator::SetStaples(std::vector<StapleSpec> staples) {
  const auto shared = Staples::Create(std::move(staples));
  SendToAll([&] { return SwapStaples{shared}; });
}

std::variant<std::monostate, OpensslFailure> Terminator::SetClientAuthentication(
    uint32_t listener_id, const ClientAuthenticationSpec& spec) {
  auto created = ClientAuthentication::Create(*library_, spec);
  if (auto* failure = std::get_if<OpensslFailure>(&created)) return std::move(*failure);
  const auto authentication = std::get<std::shared_ptr<const ClientAuthentication>>(created);
  SendToAll([&] { return SwapClientAuthentication{listener_id, authentication}; });
  return std::monostate();
}

int Terminator::Listen(const ListenerSpec& spec) {
  SocketAddress address = spec.address;
  // SO_REUSEPORT would let us share the port with a stranger of the same user, or with another Sealgate,
  // silently.
  if (address.port() != 0) {
    auto probe = OpenListeningSocket(address, true);
    if (const int* error = std::get_if<int>(&probe)) return -*error;
  }
  std::vector<UniqueFd> sockets;
  for (size_t i = 0; i < threads_.size(); ++i) {
    auto opened = OpenListeningSocket(address, false);
    if (const int* error = std::get_if<int>(&opened)) return -*error;
    sockets.push_back(std::move(std::get<UniqueFd>(opened)));
    address = SocketAddress::Local(sockets.back().get());  // the port the system chose, for the others
  }
  auto state = std::make_shared<ListenerState>(spec.max_connections_per_address);
  state->id = spec.id;
  state->mode = spec.mode;
  state->alpn_protocols = AlpnWireForm(spec.alpn);
  state->session_binding = BindingOf(*state);
  state->proxy_networks = spec.proxy_networks;
  state->max_connections = spec.max_connections;
  state->max_handshakes = spec.max_handshakes;
  state->idle_timeout_ms = spec.idle_timeout_ms;
  listeners_[spec.id] = state;
  for (size_t i = 0; i < threads_.size(); ++i) {
    threads_[i]->inbox().Push(OpenListener{std::move(sockets[i]), state});
  }
  return address.port();
}

void Terminator::StopListening(uint32_t id) {
  SendToAll([&] { return CloseListener{id}; });
}

void Terminator::SetReceivers(const std::vector<uint32_t>& ids) {
  std::vector<std::shared_ptr<Receiver>> receivers;
  for (const uint32_t id : ids) {
    if (auto receiver = Registry::Instance().FindReceiver(id)) receivers.push_back(std::move(receiver));
  }
  for (const auto& thread : relays_) thread->inbox().Push(SwapReceivers{receivers});
}

void Terminator::Drain() {
  SendToAll([] { return sealgate::Drain{}; });
}

void Terminator::Stop() {
  // In this order: what leaves a handshake thread has a relay thread to go to.
  for (const auto& thread : threads_) thread->Join();
  for (const auto& thread : relays_) thread->Join();
}

void Terminator::Close() {
  Stop();
  mailboxes_.signs.Disconnect();
  mailboxes_.established.Disconnect();
  mailboxes_.events.Disconnect();
}

}  // namespace sealgate
