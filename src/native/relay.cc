// SPDX-License-Identifier: Apache-2.0
#include "relay.h"

#include <sys/socket.h>

#include <cerrno>

namespace sealgate {

namespace {
// Reads of one connection in a row before the others get a turn: with a 64 KiB scratch buffer, 256 KiB.
constexpr int kReadsPerTurn = 4;
}  // namespace

std::unique_ptr<Relay> Relay::Create(Poller& poller, UniqueFd plain, TlsStream* tls,
                                     std::span<uint8_t> scratch, Owner* owner, Options options) {
  std::unique_ptr<Relay> relay(new Relay(tls, scratch, owner, options));
  relay->plain_ = std::move(plain);
  relay->poll_ = PollHandle::Create(poller, relay->plain_.get(), UV_READABLE, relay.get());
  return relay->poll_ == nullptr ? nullptr : std::move(relay);
}

void Relay::Begin(std::span<const uint8_t> first) {
  bytes_from_peer_ += first.size();
  WritePlain(first);
  Pump();
}

void Relay::OnPoll(PollHandle& /*handle*/, int status, int events) {
  if ((events & UV_READABLE) != 0) plain_readable_ = true;
  if (status < 0) {
    // What the socket still holds can be read without epoll.
    plain_poll_broken_ = true;
    plain_readable_ = true;
  }
  Pump();
}

void Relay::Pump() {
  if (over_) return;
  if (tls_->blocked() && tls_->Flush() == WriteResult::kBroken)
    return Finish(End::kReset, "connection reset");
  if (!to_plain_.empty()) WritePlain({});
  PlainToPeer();
  if (!over_) PeerToPlain();
  if (over_) return;
  EndIfDone();
  if (over_) return;
  WatchPlain();
  owner_->OnRelayProgress();
}

void Relay::PeerToPlain() {
  for (int reads = 0; !peer_ended_ && to_plain_.empty(); ++reads) {
    if (reads == kReadsPerTurn) return owner_->WantPump();
    size_t size = 0;
    const TlsStream::Result result = tls_->Read(scratch_, &size);
    if (size > 0) {
      bytes_from_peer_ += size;
      WritePlain(scratch_.first(size));
    }
    switch (result) {
      case TlsStream::Result::kDone:
        continue;
      case TlsStream::Result::kClosed:
      case TlsStream::Result::kTruncated:
        peer_ended_ = true;
        break;
      case TlsStream::Result::kFailed:
        return Finish(End::kReset, tls_->failure().c_str());
      case TlsStream::Result::kWantRead:
      case TlsStream::Result::kSuspended:
        return;
    }
  }
}

void Relay::PlainToPeer() {
  for (int reads = 0; plain_readable_ && !plain_ended_ && !tls_->blocked(); ++reads) {
    if (reads == kReadsPerTurn) return owner_->WantPump();
    const ssize_t n = recv(plain_.get(), scratch_.data(), scratch_.size(), 0);
    if (n > 0) {
      const auto size = static_cast<size_t>(n);
      bytes_to_peer_ += size;
      if (tls_->Write(scratch_.first(size)) == WriteResult::kBroken)
        return Finish(End::kReset, "connection reset");
      // A short read has emptied the socket; epoll says when there is more, or the end.
      if (size < scratch_.size() && !plain_poll_broken_) plain_readable_ = false;
    } else if (n == 0 ? !plain_reset_ : !options_.half_close && errno == ECONNRESET) {
      plain_ended_ = true;
      if (!owner_->OnPlainEnd()) return Finish(End::kReset, "aborted");
      if (tls_->Shutdown() == WriteResult::kBroken) return Finish(End::kReset, "connection reset");
    } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      plain_readable_ = false;
    } else if (n == 0 || errno != EINTR) {
      return Finish(End::kReset, "upstream reset");
    }
  }
}

void Relay::WritePlain(std::span<const uint8_t> bytes) {
  if (plain_write_ended_) return;
  if (SendOrKeep(plain_.get(), to_plain_, bytes) == WriteResult::kBroken) {
    // The kernel reports what broke the connection once, to whoever asks first: the next read would see a
    // clean end. So it is with a reset, with a server that answers no more (ETIMEDOUT) and with a route that
    // has gone (EHOSTUNREACH). EPIPE is none of them, the other end had said all it had to say.
    plain_reset_ = options_.half_close && errno != EPIPE;
    // The other end reads no more but may still have said something: that goes to the peer, what the peer
    // sends goes nowhere.
    to_plain_.Consume(to_plain_.unsent().size());
    plain_write_ended_ = true;
    plain_write_broken_ = true;
  }
}

void Relay::EndIfDone() {
  if (peer_ended_ && to_plain_.empty() && !plain_write_ended_) {
    shutdown(plain_.get(), SHUT_WR);
    plain_write_ended_ = true;
  }
  if (!plain_ended_ || tls_->blocked()) return;
  const bool all_said = peer_ended_ && to_plain_.empty();
  if (all_said || !options_.half_close) return Finish(End::kClosed, "closed");
  // Nobody is there any more. A peer that only sends would never learn it: each byte thrown away renews the
  // idle timeout.
  if (plain_write_broken_) Finish(End::kClosed, "upstream closed");
}

void Relay::Finish(End end, const char* reason) {
  Stop();
  owner_->OnRelayEnd(end, reason);
}

void Relay::Stop() {
  over_ = true;
  poll_->Watch(0);
}

void Relay::ResetPlain() { SetResetOnClose(plain_.get()); }

int Relay::tls_mask() const {
  const bool reading = !peer_ended_ && to_plain_.empty();
  return reading ? tls_->mask() : tls_->mask() & ~UV_READABLE;
}

void Relay::WatchPlain() {
  if (plain_poll_broken_) return;
  int mask = 0;
  if (!plain_ended_ && !tls_->blocked()) mask |= UV_READABLE;
  if (!to_plain_.empty()) mask |= UV_WRITABLE;
  poll_->Watch(mask);
}

}  // namespace sealgate
