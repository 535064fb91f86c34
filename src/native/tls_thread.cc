// SPDX-License-Identifier: Apache-2.0
#include "tls_thread.h"

#include <openssl/async.h>
#include <pthread.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <algorithm>
#include <csignal>
#include <utility>

#include "registry.h"
#include "scheduling.h"

namespace sealgate {

namespace {

constexpr size_t kScratchSize = size_t{64} * 1024;
// Handshakes per round of the loop: about three at 300 µs each. What an answer of the HSM waits at most
// before it is seen.
constexpr uint64_t kTurnBudgetNs = 1'000'000;
constexpr uint64_t kTickMs = 50;
constexpr uint64_t kAcceptPauseMs = 100;
// Handshakes at once that make a burst worth tidying up after: when few of them are left and none has ended
// for a while, or, on a thread that is never quiet, when its height is long ago.
constexpr size_t kBurst = 64;
constexpr size_t kBurstShare = 16;
constexpr uint64_t kQuietMs = 1000;
constexpr uint64_t kLongAgoMs = 10'000;

template <typename Handle>
uv_handle_t* AsHandle(Handle* handle) {
  return reinterpret_cast<uv_handle_t*>(handle);
}

template <class... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
template <class... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;  // clang deduces it by itself from 17 on

}  // namespace

std::unique_ptr<TlsThread> TlsThread::Start(MainMailboxes* main, const Options& options) {
  std::unique_ptr<TlsThread> thread(new TlsThread(main, options));
  TlsThread* self = thread.get();
  self->inbox_ = std::make_shared<Inbox>([self] { uv_async_send(&self->wake_); });
  if (options.relays != nullptr) {
    self->ordinal_ = Registry::Instance().AddThread(self->inbox_, options.relays->inbox_);
    if (self->ordinal_ < 0) return nullptr;
  }
  if (uv_loop_init(&self->loop_) != 0) return nullptr;
  self->poller_ = Poller::Create(&self->loop_);
  if (self->poller_ == nullptr) {
    uv_loop_close(&self->loop_);
    return nullptr;
  }
  for (auto* handle : {AsHandle(&self->wake_), AsHandle(&self->check_), AsHandle(&self->idle_),
                       AsHandle(&self->tick_), AsHandle(&self->pause_)}) {
    handle->data = self;
  }
  uv_async_init(&self->loop_, &self->wake_, [](uv_async_t* async) {
    auto* thread = static_cast<TlsThread*>(async->data);
    // First: it says which HTTP workers there are.
    thread->ReadInbox();
    thread->ReadArrivals();
  });
  uv_check_init(&self->loop_, &self->check_);
  uv_check_start(&self->check_, [](uv_check_t* check) { static_cast<TlsThread*>(check->data)->Turns(); });
  uv_idle_init(&self->loop_, &self->idle_);
  uv_timer_init(&self->loop_, &self->tick_);
  uv_timer_init(&self->loop_, &self->pause_);
  // Signals belong to the main thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  self->thread_ = std::thread([self] { self->Run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

TlsThread::TlsThread(MainMailboxes* main, const Options& options)
    : main_(main), options_(options), arrivals_([this] { uv_async_send(&wake_); }), scratch_(kScratchSize) {}

void TlsThread::Join() {
  if (!thread_.joinable()) return;
  inbox_->Push(Stop{});
  thread_.join();
}

TlsThread::~TlsThread() {
  Join();
  if (ordinal_ >= 0) Registry::Instance().RemoveThread(ordinal_);
}

void TlsThread::Run() {
  const bool relays = options_.relays == nullptr;
  pthread_setname_np(pthread_self(), relays ? "relay" : ("tls-" + std::to_string(ordinal_)).c_str());
  if (relays) TakeShortSlices();
  while (!stopping_) uv_run(&loop_, UV_RUN_ONCE);
  Shut();
}

void TlsThread::Shut() {
  inbox_->Disconnect();
  arrivals_.Disconnect();
  listeners_.clear();
  retired_.clear();
  for (auto& [handle, connection] : connections_) connection->OnStop();
  connections_.clear();  // resumes suspended handshakes with a failure: OpenSSL's jobs belong to this thread
  ASYNC_cleanup_thread();
  poller_.reset();
  for (auto* handle :
       {AsHandle(&wake_), AsHandle(&check_), AsHandle(&idle_), AsHandle(&tick_), AsHandle(&pause_)}) {
    uv_close(handle, nullptr);
  }
  uv_run(&loop_, UV_RUN_DEFAULT);
  uv_loop_close(&loop_);
  contexts_.reset();
}

// ---- commands -------------------------------------------------------------------------------------------

void TlsThread::ReadInbox() {
  for (Command& command : inbox_->TakeAll()) Execute(command);
}

void TlsThread::ReadArrivals() {
  for (auto& [connection, first] : arrivals_.TakeAll()) {
    const Handle handle = connection->handle();
    Connection& arrived = *connections_.emplace(handle, std::move(connection)).first->second;
    arrived.Arrive(this, first);
  }
}

void TlsThread::Execute(Command& command) {
  std::visit(Overloaded{
                 [this](FinishSign& finish) {
                   if (Connection* connection = Find(finish.handle))
                     connection->FinishSign(std::move(finish));
                 },
                 [this](ConnectUpstream& route) {
                   if (Connection* connection = Find(route.handle)) connection->RouteTo(std::move(route));
                 },
                 [this](AbortConnection& abort) {
                   if (Connection* connection = Find(abort.handle)) connection->Abort();
                 },
                 [this](OpenListener& open) {
                   auto listener = Listener::Create(this, std::move(open.fd), std::move(open.state));
                   if (listener != nullptr) listeners_.push_back(std::move(listener));
                 },
                 [this](CloseListener& close) {
                   std::erase_if(listeners_, [&](const std::unique_ptr<Listener>& listener) {
                     if (listener->id() != close.id) return false;
                     listener->AcceptAll();
                     return true;
                   });
                 },
                 [this](SwapContexts& swap) { contexts_ = std::move(swap.contexts); },
                 [this](SwapTicketKeys& swap) { ticket_keys_ = std::move(swap.keys); },
                 [this](SwapStaples& swap) { staples_ = std::move(swap.staples); },
                 [this](SwapClientAuthentication& swap) {
                   client_authentications_[swap.listener_id] = std::move(swap.authentication);
                 },
                 [this](SwapReceivers& swap) { receivers_ = std::move(swap.receivers); },
                 [this](Drain&) {
                   draining_ = true;
                   for (auto& [handle, connection] : connections_) connection->OnDrain();
                 },
                 [this](Stop&) { stopping_ = true; },
             },
             command);
}

// ---- connections ----------------------------------------------------------------------------------------

void TlsThread::Adopt(UniqueFd fd, const SocketAddress& peer,
                      const std::shared_ptr<ListenerState>& listener) {
  if (contexts_ == nullptr) return;  // nobody has said yet who we are
  if (auto* reached = listener->reached()) {
    reached->fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const Handle handle = ++sequence_ * Registry::kMaxThreads + static_cast<uint64_t>(ordinal_);
  auto connection = Connection::Create(this, handle, std::move(fd), peer, listener);
  if (connection != nullptr) connections_.emplace(handle, std::move(connection));
}

void TlsThread::Retire(Handle handle) {
  const auto found = connections_.find(handle);
  if (found == connections_.end()) return;
  retired_.push_back(std::move(found->second));
  connections_.erase(found);
  Stir();
}

void TlsThread::Depart(Handle handle, std::span<const uint8_t> first) {
  auto found = connections_.extract(handle);
  if (found.empty()) return;
  found.mapped()->Leave();
  departing_.push_back({std::move(found.mapped()), Bytes(first.begin(), first.end())});
}

Connection* TlsThread::Find(Handle handle) {
  const auto found = connections_.find(handle);
  return found == connections_.end() ? nullptr : found->second.get();
}

std::shared_ptr<Receiver> TlsThread::NextReceiver() {
  for (size_t tries = 0; tries < receivers_.size(); ++tries) {
    const auto& receiver = receivers_[next_receiver_++ % receivers_.size()];
    if (!receiver->gone.load(std::memory_order_acquire)) return receiver;
  }
  return nullptr;
}

// ---- turns ----------------------------------------------------------------------------------------------

// A turn comes after the sockets. Without this the loop may sleep first, when a timer has made the work.
void TlsThread::Stir() {
  uv_idle_start(&idle_, [](uv_idle_t*) {});
}

void TlsThread::ScheduleHandshake(Handle handle) { handshakes_.push_back(handle); }
void TlsThread::ScheduleResume(Handle handle) { resumes_.push_back(handle); }
void TlsThread::SchedulePump(Handle handle) { pumps_.push_back(handle); }

void TlsThread::RequestSignature(SignRequest request) { sign_requests_.push_back(std::move(request)); }

void TlsThread::HandshakeResumed() { --suspended_; }

void TlsThread::HandshakeBegan() {
  if (++handshaking_ <= most_handshaking_) return;
  most_handshaking_ = handshaking_;
  most_handshaking_at_ = now();
}

void TlsThread::HandshakeEnded() {
  --handshaking_;
  handshake_ended_at_ = now();
}

// OpenSSL keeps the stack of every job it ever ran at once, 32 KiB each, and the allocator keeps what
// handshakes needed on the way. After a burst both would stay for good.
void TlsThread::TidyUpAfterBurst() {
  // Jobs may be given back only while none is in use.
  const bool over = suspended_ == 0 && handshaking_ <= most_handshaking_ / kBurstShare;
  const bool quiet = now() - handshake_ended_at_ >= kQuietMs;
  const bool long_ago = now() - most_handshaking_at_ >= kLongAgoMs;
  if (most_handshaking_ < kBurst || !over || !(quiet || long_ago)) return;
  most_handshaking_ = handshaking_;
  most_handshaking_at_ = now();
  ASYNC_cleanup_thread();
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

// After the sockets, once a round.
void TlsThread::Turns() {
  for (Handle handle : std::exchange(pumps_, {})) {
    if (Connection* connection = Find(handle)) connection->PumpTurn();
  }
  const uint64_t end = uv_hrtime() + kTurnBudgetNs;
  while (!resumes_.empty() || !handshakes_.empty()) {
    std::deque<Handle>& queue = resumes_.empty() ? handshakes_ : resumes_;
    const Handle handle = queue.front();
    queue.pop_front();
    if (Connection* connection = Find(handle)) connection->HandshakeTurn();
    if (uv_hrtime() >= end) break;
  }
  if (!sign_requests_.empty()) main_->signs.PushAll(sign_requests_);
  if (!departing_.empty()) options_.relays->arrivals_.PushAll(departing_);
  retired_.clear();
  const bool due = !resumes_.empty() || !handshakes_.empty() || !pumps_.empty();
  if (due)
    Stir();
  else
    uv_idle_stop(&idle_);
}

void TlsThread::AddDeadline(uint64_t when, Handle handle) {
  deadlines_.Add(when, handle);
  if (uv_is_active(AsHandle(&tick_))) return;
  uv_timer_start(
      &tick_, [](uv_timer_t* timer) { static_cast<TlsThread*>(timer->data)->ExpireDeadlines(); }, kTickMs,
      kTickMs);
}

void TlsThread::ExpireDeadlines() {
  while (!deadlines_.empty() && deadlines_.next() <= now()) {
    const auto [when, handle] = deadlines_.Pop();
    if (Connection* connection = Find(handle)) connection->OnDeadlineEntry(when);
  }
  TidyUpAfterBurst();
  if (deadlines_.empty() && most_handshaking_ < kBurst) uv_timer_stop(&tick_);
}

void TlsThread::ResumeListenersLater() {
  uv_timer_start(
      &pause_,
      [](uv_timer_t* timer) {
        for (auto& listener : static_cast<TlsThread*>(timer->data)->listeners_) listener->Resume();
      },
      kAcceptPauseMs, 0);
}

}  // namespace sealgate
