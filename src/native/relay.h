// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "egress.h"
#include "poller.h"
#include "socket.h"
#include "tls_stream.h"

namespace sealgate {

// Carries bytes between the TLS side and a plaintext socket, both ways, until both have ended.
//
// Back-pressure: a side is read only while the other one takes what was read; at most one read's worth waits
// in each direction. Half-close: close_notify becomes FIN and FIN becomes close_notify, each direction on its
// own.
//
// Owns:    the plaintext socket and what it did not take yet.
// Borrows: the TLS stream and the thread's scratch buffer.
// Thread:  loop thread only. The owner is told at most once that it is over, and destroys the relay later.
class Relay final : public PollHandle::Target {
 public:
  enum class End : uint8_t {
    kClosed,  // both directions have ended well
    kReset,   // one side broke: the other must not take what it got for the whole
  };

  class Owner {
   public:
    virtual void OnRelayEnd(End end, const char* reason) = 0;
    // The plaintext side has ended its stream. False: it broke off, the peer must not see a clean end.
    virtual bool OnPlainEnd() = 0;
    virtual void OnRelayProgress() = 0;  // bytes moved, or what the TLS socket must be watched for changed
    virtual void WantPump() = 0;  // more to do without waiting for a socket, after the others had a turn

   protected:
    ~Owner() = default;
  };

  struct Options {
    // tcp: the upstream may go on sending when the peer has closed its direction. http: the worker's end of
    // stream ends the connection, and a reset of its socket is no error (it closed with bytes unread).
    bool half_close = false;
  };

  // Null when the kernel refuses to watch the socket.
  [[nodiscard]] static std::unique_ptr<Relay> Create(Poller& poller, UniqueFd plain, TlsStream* tls,
                                                     std::span<uint8_t> scratch, Owner* owner,
                                                     Options options);

  // Our own word to the plaintext side, before anything of the peer's. Before Begin().
  void Announce(std::span<const uint8_t> preface) { WritePlain(preface); }
  // Bytes that were read from the TLS side before there was a relay.
  void Begin(std::span<const uint8_t> first);
  // Moves what can be moved. Call when the TLS socket is ready.
  void Pump();
  // What the TLS socket must be watched for.
  [[nodiscard]] int tls_mask() const;

  // Moves nothing any more, and tells the owner nothing.
  void Stop();
  // The plaintext side sees a reset rather than an end.
  void ResetPlain();
  [[nodiscard]] bool peer_blocked() const { return tls_->blocked(); }
  [[nodiscard]] uint64_t bytes_from_peer() const { return bytes_from_peer_; }
  [[nodiscard]] uint64_t bytes_to_peer() const { return bytes_to_peer_; }

 private:
  Relay(TlsStream* tls, std::span<uint8_t> scratch, Owner* owner, Options options)
      : tls_(tls), scratch_(scratch), owner_(owner), options_(options) {}
  void OnPoll(PollHandle& handle, int status, int events) override;

  void PeerToPlain();
  void PlainToPeer();
  void WritePlain(std::span<const uint8_t> bytes);
  void EndIfDone();
  void Finish(End end, const char* reason);
  void WatchPlain();

  TlsStream* tls_;
  std::span<uint8_t> scratch_;
  Owner* owner_;
  Options options_;
  UniqueFd plain_;
  std::unique_ptr<PollHandle> poll_;  // after plain_: goes before the descriptor closes
  Backlog to_plain_;
  uint64_t bytes_from_peer_ = 0;
  uint64_t bytes_to_peer_ = 0;
  bool peer_ended_ = false;          // close_notify or end of file
  bool plain_ended_ = false;         // end of file from the plaintext side; close_notify sent
  bool plain_write_ended_ = false;   // we have sent FIN, or the other end does not read any more
  bool plain_write_broken_ = false;  // of these the latter
  bool plain_reset_ = false;         // sending has found it broken: what looks like an end is none
  bool plain_readable_ = false;      // a read may bring something: do not ask the system in vain
  bool plain_poll_broken_ = false;   // epoll reports an error: read on without it
  bool over_ = false;
};

}  // namespace sealgate
