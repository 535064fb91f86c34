// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/epoll.h>
#include <uv.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "socket.h"

namespace sealgate {

class PollHandle;

// Readiness of many descriptors on one loop: an epoll instance (epoll(7)) that the loop watches as one more
// descriptor.
//
// uv_poll_t does the same with an epoll_ctl for each step: nine or ten for a connection that only makes a
// handshake. Here they are two, one when it comes and one when it goes.
//
// Owns:   the epoll instance. It must outlive its PollHandles, and may go in the callback of one.
// Thread: the loop's. Keeps the loop alive while there is a PollHandle. After its end the loop has to run
//         once more.
class Poller final {
 public:
  // Null when there is no descriptor or no memory left.
  [[nodiscard]] static std::unique_ptr<Poller> Create(uv_loop_t* loop);
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

 private:
  friend class PollHandle;
  struct Inner;
  explicit Poller(Inner* inner) : inner_(inner) {}
  [[nodiscard]] bool Add(int fd, uint32_t events, PollHandle* handle);
  void Change(int fd, uint32_t events, PollHandle* handle);
  void Remove(int fd, const PollHandle* handle);

  Inner* inner_;  // freed by uv_close's callback
};

// Readiness of one descriptor. It must go before the descriptor is closed: a child that is just being started
// has a copy, for which epoll would go on.
//
// Thread: the loop's. May go in its own callback, and in that of another.
class PollHandle final {
 public:
  // events: of UV_READABLE, UV_WRITABLE, UV_DISCONNECT. A negative status: epoll has reported an error and
  // nothing is watched any more; a read says what it is.
  class Target {
   public:
    virtual void OnPoll(PollHandle& handle, int status, int events) = 0;

   protected:
    ~Target() = default;
  };

  // Watches from here on. Null when the kernel refuses the descriptor (out of memory, or not pollable).
  [[nodiscard]] static std::unique_ptr<PollHandle> Create(Poller& poller, int fd, int mask, Target* target);
  ~PollHandle();
  PollHandle(const PollHandle&) = delete;
  PollHandle& operator=(const PollHandle&) = delete;

  // 0: nothing is told until there is another mask. Costs a system call where more is wanted than the kernel
  // has been told. What is wanted no more it is told when it happens: mostly it is wanted again before that.
  void Watch(int mask);

 private:
  friend class Poller;
  PollHandle(Poller& poller, Target* target) : poller_(poller), target_(target) {}
  void OnReady(uint32_t events);
  void Tell(uint32_t events);

  Poller& poller_;
  Target* target_;
  int fd_ = -1;          // borrowed; -1: the kernel has refused it
  uint32_t wanted_ = 0;  // of EPOLLIN, EPOLLOUT, EPOLLRDHUP
  uint32_t told_ = 0;    // what the kernel reports
};

}  // namespace sealgate
