// SPDX-License-Identifier: Apache-2.0
#include "poller.h"

namespace sealgate {

namespace {

// What is ready beyond that is told in the next round of the loop.
constexpr size_t kReadyPerRound = 256;

uint32_t EpollEvents(int mask) {
  uint32_t events = 0;
  if ((mask & UV_READABLE) != 0) events |= EPOLLIN;
  if ((mask & UV_WRITABLE) != 0) events |= EPOLLOUT;
  if ((mask & UV_DISCONNECT) != 0) events |= EPOLLRDHUP;
  return events;
}

int UvEvents(uint32_t events) {
  int mask = 0;
  if ((events & EPOLLIN) != 0) mask |= UV_READABLE;
  if ((events & EPOLLOUT) != 0) mask |= UV_WRITABLE;
  if ((events & EPOLLRDHUP) != 0) mask |= UV_DISCONNECT;
  return mask;
}

// EPOLLERR and EPOLLHUP are always reported: with EPOLLET once, and not in each round.
uint32_t OrQuiet(uint32_t events) { return events == 0 ? static_cast<uint32_t>(EPOLLET) : events; }

}  // namespace

// Outlives its Poller until uv has let go of it.
struct Poller::Inner {
  uv_poll_t poll{};
  UniqueFd epoll;
  std::array<epoll_event, kReadyPerRound> ready{};
  size_t next = 0;  // of those that are ready, the first that has not been told yet
  size_t count = 0;
  size_t handles = 0;

  void Dispatch() {
    const int found = epoll_wait(epoll.get(), ready.data(), static_cast<int>(ready.size()), 0);
    count = found > 0 ? static_cast<size_t>(found) : 0;
    for (next = 0; next < count;) {
      const epoll_event event = ready[next++];
      if (event.data.ptr != nullptr) static_cast<PollHandle*>(event.data.ptr)->OnReady(event.events);
    }
    count = 0;
  }
};

std::unique_ptr<Poller> Poller::Create(uv_loop_t* loop) {
  auto inner = std::make_unique<Inner>();
  inner->epoll.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!inner->epoll.valid() || uv_poll_init(loop, &inner->poll, inner->epoll.get()) != 0) return nullptr;
  inner->poll.data = inner.get();
  uv_poll_start(&inner->poll, UV_READABLE,
                [](uv_poll_t* poll, int, int) { static_cast<Inner*>(poll->data)->Dispatch(); });
  uv_unref(reinterpret_cast<uv_handle_t*>(&inner->poll));
  return std::unique_ptr<Poller>(new Poller(inner.release()));
}

Poller::~Poller() {
  uv_close(reinterpret_cast<uv_handle_t*>(&inner_->poll),
           [](uv_handle_t* handle) { delete static_cast<Inner*>(handle->data); });
}

bool Poller::Add(int fd, uint32_t events, PollHandle* handle) {
  epoll_event event{.events = events, .data = {.ptr = handle}};
  if (epoll_ctl(inner_->epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) return false;
  if (inner_->handles++ == 0) uv_ref(reinterpret_cast<uv_handle_t*>(&inner_->poll));
  return true;
}

// Cannot fail: the kernel knows the descriptor, and needs no memory.
void Poller::Change(int fd, uint32_t events, PollHandle* handle) {
  epoll_event event{.events = events, .data = {.ptr = handle}};
  epoll_ctl(inner_->epoll.get(), EPOLL_CTL_MOD, fd, &event);
}

void Poller::Remove(int fd, const PollHandle* handle) {
  epoll_ctl(inner_->epoll.get(), EPOLL_CTL_DEL, fd, nullptr);
  for (size_t i = inner_->next; i < inner_->count; ++i)
    if (inner_->ready[i].data.ptr == handle) inner_->ready[i].data.ptr = nullptr;
  if (--inner_->handles == 0) uv_unref(reinterpret_cast<uv_handle_t*>(&inner_->poll));
}

std::unique_ptr<PollHandle> PollHandle::Create(Poller& poller, int fd, int mask, Target* target) {
  std::unique_ptr<PollHandle> handle(new PollHandle(poller, target));
  handle->wanted_ = handle->told_ = EpollEvents(mask);
  if (!poller.Add(fd, OrQuiet(handle->told_), handle.get())) return nullptr;
  handle->fd_ = fd;
  return handle;
}

PollHandle::~PollHandle() {
  if (fd_ >= 0) poller_.Remove(fd_, this);
}

void PollHandle::Watch(int mask) {
  wanted_ = EpollEvents(mask);
  // A socket can nearly always be written to: that would happen at once.
  if ((wanted_ & ~told_) != 0 || (told_ & ~wanted_ & EPOLLOUT) != 0) Tell(wanted_);
}

void PollHandle::OnReady(uint32_t events) {
  if (wanted_ != 0 && (events & EPOLLERR) != 0) {
    wanted_ = 0;
    return target_->OnPoll(*this, UV_EBADF, 0);
  }
  // Both directions have ended: whatever is waited for will not come.
  const uint32_t happened = (events & EPOLLHUP) != 0 && (events & wanted_) == 0 ? wanted_ : events & wanted_;
  if (happened != 0) return target_->OnPoll(*this, 0, UvEvents(happened));
  if (told_ != wanted_) Tell(wanted_);
}

void PollHandle::Tell(uint32_t events) {
  told_ = events;
  poller_.Change(fd_, OrQuiet(events), this);
}

}  // namespace sealgate
