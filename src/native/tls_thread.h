// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <uv.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <thread>
#include <unordered_map>
#include <vector>

#include "connection.h"
#include "deadline_queue.h"
#include "listener.h"
#include "messages.h"
#include "poller.h"
#include "stats.h"

namespace sealgate {

// One libuv loop on one thread, of two kinds. A handshake thread has listening sockets, and the connections
// accepted on them until they carry bytes. A relay thread gets them then, and has them to their end: it uses
// little of the processor, so the kernel lets it have it soon, however many handshakes wait for it.
//
// Turns:  in each round of the loop the sockets come first, then relays that want another turn, then
//         handshakes within a time budget: those whose signature has arrived before those that begin.
// Owns:   listeners, connections, buffers that one call at a time uses.
// Thread: everything is loop thread only, but Start, Join, inbox() and stats().
class TlsThread final {
 public:
  struct Options {
    uint32_t handshake_timeout_ms = 0;
    // Takes the connections of a handshake thread and outlives it; null: this one is a relay thread.
    TlsThread* relays = nullptr;
  };

  // main must outlive the thread. Null when the loop cannot be made.
  [[nodiscard]] static std::unique_ptr<TlsThread> Start(MainMailboxes* main, const Options& options);
  // Sends Stop and joins. Idempotent.
  void Join();
  ~TlsThread();
  TlsThread(const TlsThread&) = delete;
  TlsThread& operator=(const TlsThread&) = delete;

  [[nodiscard]] Inbox& inbox() { return *inbox_; }
  [[nodiscard]] ThreadStats& stats() { return stats_; }

  // For listeners and connections.
  void Adopt(UniqueFd fd, const SocketAddress& peer, const std::shared_ptr<ListenerState>& listener);
  void Retire(Handle handle);  // destroyed when the current callback is over
  // To the relay thread, when the current callback is over, with what its peer has said first.
  void Depart(Handle handle, std::span<const uint8_t> first);
  void ScheduleHandshake(Handle handle);
  void ScheduleResume(Handle handle);
  void SchedulePump(Handle handle);
  void RequestSignature(SignRequest request);
  void HandshakeSuspended() { ++suspended_; }
  void HandshakeResumed();  // it has gone on, or has been given up
  void HandshakeBegan();
  void HandshakeEnded();
  void AddDeadline(uint64_t when, Handle handle);
  void ResumeListenersLater();
  void ReadInbox();
  [[nodiscard]] std::shared_ptr<Receiver> NextReceiver();

  [[nodiscard]] Poller& poller() { return *poller_; }
  [[nodiscard]] uint64_t now() const { return uv_now(&loop_); }
  [[nodiscard]] MainMailboxes& main() { return *main_; }
  [[nodiscard]] const Contexts& contexts() const { return *contexts_; }
  [[nodiscard]] const TicketKeys* ticket_keys() const { return ticket_keys_.get(); }
  [[nodiscard]] const Staples* staples() const { return staples_.get(); }
  // Null: clients of that listener are not asked for a certificate.
  [[nodiscard]] std::shared_ptr<const ClientAuthentication> client_authentication(
      uint32_t listener_id) const {
    const auto found = client_authentications_.find(listener_id);
    return found == client_authentications_.end() ? nullptr : found->second;
  }
  [[nodiscard]] std::vector<uint8_t>& egress() { return egress_; }
  [[nodiscard]] std::span<uint8_t> scratch() { return scratch_; }
  [[nodiscard]] uint64_t handshake_timeout_ms() const { return options_.handshake_timeout_ms; }
  [[nodiscard]] bool draining() const { return draining_; }

 private:
  struct Arrival {
    std::unique_ptr<Connection> connection;
    Bytes first;
  };

  TlsThread(MainMailboxes* main, const Options& options);
  void Run();
  void Execute(Command& command);
  void ReadArrivals();
  void Stir();
  void Turns();
  void ExpireDeadlines();
  void TidyUpAfterBurst();
  void Shut();
  [[nodiscard]] Connection* Find(Handle handle);

  MainMailboxes* main_;
  Options options_;
  uv_loop_t loop_{};
  uv_async_t wake_{};
  uv_check_t check_{};
  uv_idle_t idle_{};    // active while turns are due: the loop must not sleep then
  uv_timer_t tick_{};   // active while deadlines are due
  uv_timer_t pause_{};  // until accepting is tried again
  std::unique_ptr<Poller> poller_;
  std::shared_ptr<Inbox> inbox_;
  Mailbox<Arrival> arrivals_;
  ThreadStats stats_;
  int ordinal_ = -1;
  uint64_t sequence_ = 0;
  bool draining_ = false;
  bool stopping_ = false;

  std::shared_ptr<const Contexts> contexts_;
  std::shared_ptr<const TicketKeys> ticket_keys_;
  std::shared_ptr<const Staples> staples_;
  std::unordered_map<uint32_t, std::shared_ptr<const ClientAuthentication>> client_authentications_;
  std::vector<std::shared_ptr<Receiver>> receivers_;
  size_t next_receiver_ = 0;

  std::vector<uint8_t> egress_;
  std::vector<uint8_t> scratch_;
  size_t suspended_ = 0;
  size_t handshaking_ = 0;
  size_t most_handshaking_ = 0;  // since memory was last given back
  uint64_t most_handshaking_at_ = 0;
  uint64_t handshake_ended_at_ = 0;
  DeadlineQueue deadlines_;
  std::deque<Handle> resumes_;
  std::deque<Handle> handshakes_;
  std::deque<Handle> pumps_;
  std::vector<SignRequest> sign_requests_;  // of this round; they leave together: one wake-up for all
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::unordered_map<Handle, std::unique_ptr<Connection>> connections_;
  std::vector<std::unique_ptr<Connection>> retired_;
  std::vector<Arrival> departing_;  // of this round; they leave together
  std::thread thread_;
};

}  // namespace sealgate
