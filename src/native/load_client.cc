// SPDX-License-Identifier: Apache-2.0
#include "load_client.h"

#include <algorithm>
#include <array>
#include <utility>

namespace sealgate {

namespace {

constexpr uint64_t kNsPerMs = 1'000'000;
constexpr uint64_t kSweepMs = 20;
// A server that is not there must not be hammered.
constexpr uint64_t kRestNs = 20 * kNsPerMs;
constexpr uint64_t kTicketWaitNs = 1000 * kNsPerMs;
// A server that does not close its side must not keep ours.
constexpr uint64_t kLingerNs = 2000 * kNsPerMs;
// From the handshake to the reset, for a server that sends no tickets.
constexpr uint64_t kResetNs = 100 * kNsPerMs;

// 127.1.1.1, 127.2.1.1, …: 62,500 addresses of the loopback network, neither .0 nor .255 among them.
SocketAddress LoopbackAddress(uint32_t turn) {
  const std::array<uint8_t, 4> bytes{127, static_cast<uint8_t>(1 + turn % 250),
                                     static_cast<uint8_t>(1 + turn / 250 % 250), 1};
  return SocketAddress::OfIpv4(bytes, 0);
}

}  // namespace

LoadClient::LoadClient(uv_loop_t* loop, std::unique_ptr<LoadContext> context, const LoadOptions& options)
    : poller_(Poller::Create(loop)),
      context_(std::move(context)),
      options_(options),
      start_ns_(uv_hrtime()),
      schedule_(loop, [this] { BeginWhatIsDue(); }),
      sweep_(loop, [this] { ExpireDeadlines(); }) {}

void LoadClient::Probe() { Begin(uv_hrtime(), false, true); }

void LoadClient::Start(const LoadPlan& plan) {
  plan_ = plan;
  running_ = true;
  start_ns_ = uv_hrtime();
  begun_ = 0;
  BeginWhatIsDue();
}

void LoadClient::Stop() {
  running_ = false;
  schedule_.Stop();
}

void LoadClient::OnReady(LoadConnection& connection) {
  Advance(connection);
  if (plan_.connections > 0) BeginWhatIsDue();
}

void LoadClient::Advance(LoadConnection& connection) {
  using Phase = LoadConnection::Phase;
  using Progress = LoadConnection::Progress;
  if (connection.phase == Phase::kHandshaking) {
    const Progress progress = connection.Shake();
    if (progress == Progress::kFailed) Failed(connection, connection.reason());
    if (progress != Progress::kDone) return;
    connection.task.finished_ns = uv_hrtime();
    connection.phase = Phase::kAwaitingTicket;
    if (connection.task.await_ticket) SetDeadline(connection, uv_hrtime() + kTicketWaitNs);
  }
  if (connection.phase == Phase::kAwaitingTicket) {
    const Progress progress =
        connection.task.await_ticket ? connection.AwaitTicket(*context_) : Progress::kDone;
    if (progress == Progress::kFailed) Failed(connection, connection.reason());
    if (progress != Progress::kDone) return;
    Established(connection);
  }
  // However it ends: the handshake is counted.
  if (connection.Leave() != Progress::kWaiting) connections_.erase(connection.task.id);
}

void LoadClient::BeginWhatIsDue() {
  if (!running_) return;
  const uint64_t now = uv_hrtime();
  if (plan_.connections > 0)
    BeginClosed(now);
  else
    BeginOpen(now);
}

void LoadClient::BeginClosed(uint64_t now) {
  while (!resting_.empty() && resting_.front() <= now) resting_.pop_front();
  while (open_ + resting_.size() < plan_.connections) Begin(uv_hrtime(), NextIsResumed(), false);
  if (!resting_.empty()) WakeAt(resting_.front());
}

void LoadClient::BeginOpen(uint64_t now) {
  for (;; ++begun_) {
    const double after_ms = plan_.first_ms + plan_.interval_ms * static_cast<double>(begun_);
    const uint64_t intended_ns = start_ns_ + static_cast<uint64_t>(after_ms * double{kNsPerMs});
    if (intended_ns > now) {
      // uv has whole milliseconds: better a little late, and counted from the intended time, than too early.
      WakeAt(intended_ns);
      return;
    }
    if (open_ < plan_.max_open) {
      Begin(intended_ns, NextIsResumed(), false);
    } else {
      records_.push_back({SinceStartMs(intended_ns), 0, 0, LoadOutcome::kSkipped});
    }
  }
}

void LoadClient::Begin(uint64_t intended_ns, bool resume, bool await_ticket) {
  const Handle id = ++last_id_;
  const LoadConnection::Task task{.id = id,
                                  .intended_ns = intended_ns,
                                  .started_ns = uv_hrtime(),
                                  .resume = resume,
                                  .await_ticket = await_ticket};
  auto owned =
      std::make_unique<LoadConnection>(task, options_.route, static_cast<LoadConnection::Owner*>(this));
  LoadConnection& connection = *owned;
  connections_.emplace(id, std::move(owned));
  ++open_;
  SetDeadline(connection, task.started_ns + options_.timeout_ns);
  if (connection.Open(poller_.get(), *context_, NextSource()) == LoadConnection::Progress::kFailed) {
    Failed(connection, connection.reason());
    return;
  }
  Advance(connection);
}

void LoadClient::Established(LoadConnection& connection) {
  --open_;
  connection.phase = LoadConnection::Phase::kLeaving;
  SetDeadline(connection, uv_hrtime() + (options_.route.reset ? kResetNs : kLingerNs));
  Record(connection, connection.resumed()     ? LoadOutcome::kResumed
                     : connection.task.resume ? LoadOutcome::kTicketRefused
                                              : LoadOutcome::kFull);
}

void LoadClient::Failed(LoadConnection& connection, const std::string& reason) {
  --open_;
  connection.task.finished_ns = uv_hrtime();
  Record(connection, LoadOutcome::kFailed + IndexOf(reason));
  if (plan_.connections > 0) resting_.push_back(connection.task.finished_ns + kRestNs);
  connections_.erase(connection.task.id);
}

// An entry of a connection that is gone, or has another deadline by now, means nothing.
void LoadClient::ExpireDeadlines() {
  const uint64_t now = uv_hrtime();
  while (!deadlines_.empty() && deadlines_.next() <= now) {
    const auto [when, id] = deadlines_.Pop();
    const auto found = connections_.find(id);
    if (found != connections_.end() && found->second->task.deadline_ns == when) Expire(*found->second);
  }
  if (deadlines_.empty()) sweep_.Stop();
  if (plan_.connections > 0) BeginWhatIsDue();
}

void LoadClient::Expire(LoadConnection& connection) {
  switch (connection.phase) {
    case LoadConnection::Phase::kHandshaking:
      Failed(connection, "ETIMEDOUT");
      return;
    case LoadConnection::Phase::kAwaitingTicket:  // there is none, then
      Established(connection);
      if (connection.Leave() != LoadConnection::Progress::kWaiting) connections_.erase(connection.task.id);
      return;
    case LoadConnection::Phase::kLeaving:
      connections_.erase(connection.task.id);
  }
}

void LoadClient::SetDeadline(LoadConnection& connection, uint64_t when_ns) {
  if (deadlines_.empty()) sweep_.Start(kSweepMs, kSweepMs);
  connection.task.deadline_ns = when_ns;
  deadlines_.Add(when_ns, connection.task.id);
}

void LoadClient::WakeAt(uint64_t when_ns) {
  const uint64_t now = uv_hrtime();
  schedule_.Start(when_ns <= now ? 0 : (when_ns - now + kNsPerMs - 1) / kNsPerMs);
}

void LoadClient::Record(const LoadConnection& connection, uint32_t outcome) {
  const LoadConnection::Task& task = connection.task;
  records_.push_back({SinceStartMs(task.intended_ns), SinceStartMs(task.started_ns),
                      SinceStartMs(task.finished_ns), static_cast<double>(outcome)});
}

uint32_t LoadClient::IndexOf(const std::string& reason) {
  const auto found = std::ranges::find(errors_, reason);
  const auto index = static_cast<uint32_t>(found - errors_.begin());
  if (found == errors_.end()) errors_.push_back(reason);
  return index;
}

bool LoadClient::NextIsResumed() {
  constexpr double kRounding = 1e-9;
  share_ += plan_.resumed;
  if (share_ < 1 - kRounding) return false;
  share_ -= 1;
  return true;
}

std::optional<SocketAddress> LoadClient::NextSource() {
  if (options_.source_step == 0) return std::nullopt;
  return LoopbackAddress(options_.source_first + sources_++ * options_.source_step);
}

double LoadClient::SinceStartMs(uint64_t ns) const {
  return (static_cast<double>(ns) - static_cast<double>(start_ns_)) / double{kNsPerMs};
}

}  // namespace sealgate
