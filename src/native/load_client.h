// SPDX-License-Identifier: Apache-2.0
// A load generator: TLS handshakes against one server, full and resumed, as fast as it answers or on a
// schedule.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "deadline_queue.h"
#include "load_connection.h"
#include "load_context.h"
#include "loop_timer.h"
#include "poller.h"

namespace sealgate {

struct LoadOptions {
  LoadRoute route{};
  uint64_t timeout_ns = 0;  // of a handshake
  // On 127.0.0.0/8 every connection comes from another address, so that ports do not run out: this one of the
  // sequence, and every so many after it. step 0: the kernel's choice.
  uint32_t source_first = 0;
  uint32_t source_step = 0;
};

struct LoadPlan {
  // Closed loop: so many at a time. 0: open loop.
  uint32_t connections = 0;
  // Open loop: one is begun so long after the start, and every interval after it, however long the others
  // take.
  double first_ms = 0;
  double interval_ms = 0;
  uint32_t max_open = 0;  // one that would be more is skipped
  // Share of handshakes that offer the newest ticket.
  double resumed = 0;
};

// One handshake, in ms since the start. outcome: kFailed + i has failed for errors()[i].
struct LoadRecord {
  double intended_ms;
  double started_ms;
  double finished_ms;
  double outcome;
};

struct LoadOutcome {
  static constexpr uint32_t kFull = 0;
  static constexpr uint32_t kResumed = 1;
  static constexpr uint32_t kTicketRefused = 2;  // a full one that was to be resumed
  static constexpr uint32_t kSkipped = 3;
  static constexpr uint32_t kFailed = 4;
};

// Thread: the loop's. Everything of it is off the loop when it is destroyed; the loop has to run once more to
// free the handles.
class LoadClient final : LoadConnection::Owner {
 public:
  LoadClient(uv_loop_t* loop, std::unique_ptr<LoadContext> context, const LoadOptions& options);

  // One full handshake that stays for its ticket, or for a second. Recorded when that is over.
  void Probe();
  void Start(const LoadPlan& plan);
  // Begins nothing more; what is open goes on.
  void Stop();

  // What has ended since the last call.
  [[nodiscard]] std::vector<LoadRecord> Take() { return std::exchange(records_, {}); }
  [[nodiscard]] const std::vector<std::string>& errors() const { return errors_; }
  // Handshakes under way.
  [[nodiscard]] uint32_t open() const { return open_; }
  [[nodiscard]] bool has_ticket() const { return context_->has_ticket(); }

 private:
  void OnReady(LoadConnection& connection) override;
  // Goes as far as the socket allows; the connection may be gone afterwards.
  void Advance(LoadConnection& connection);
  void BeginWhatIsDue();
  void BeginClosed(uint64_t now);
  void BeginOpen(uint64_t now);
  void Begin(uint64_t intended_ns, bool resume, bool await_ticket);
  void Established(LoadConnection& connection);
  void Failed(LoadConnection& connection, const std::string& reason);
  void ExpireDeadlines();
  void Expire(LoadConnection& connection);
  void SetDeadline(LoadConnection& connection, uint64_t when_ns);
  void WakeAt(uint64_t when_ns);
  void Record(const LoadConnection& connection, uint32_t outcome);
  [[nodiscard]] uint32_t IndexOf(const std::string& reason);
  [[nodiscard]] bool NextIsResumed();
  [[nodiscard]] std::optional<SocketAddress> NextSource();
  [[nodiscard]] double SinceStartMs(uint64_t ns) const;

  std::unique_ptr<Poller> poller_;  // null: there was no descriptor left
  std::unique_ptr<LoadContext> context_;
  LoadOptions options_;
  LoadPlan plan_;
  bool running_ = false;
  uint64_t start_ns_ = 0;
  uint64_t begun_ = 0;    // of an open loop, skipped ones too
  double share_ = 0;      // grows by the share that is to be resumed; at 1 it is one's turn
  uint32_t sources_ = 0;  // used so far
  uint32_t open_ = 0;
  std::deque<uint64_t> resting_;  // closed loop: when connections that have failed try again
  Handle last_id_ = 0;
  std::vector<LoadRecord> records_;
  std::vector<std::string> errors_;
  DeadlineQueue deadlines_;
  std::unordered_map<Handle, std::unique_ptr<LoadConnection>> connections_;
  LoopTimer schedule_;
  LoopTimer sweep_;
};

}  // namespace sealgate
