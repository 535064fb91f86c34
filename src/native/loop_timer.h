// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <uv.h>

#include <cstdint>
#include <functional>

namespace sealgate {

// A timer of one loop that calls one function. As with Poller, uv's close callback frees what uv still
// looks at, so it may be destroyed at any time, also by its own function. Loop thread only.
class LoopTimer final {
 public:
  LoopTimer(uv_loop_t* loop, std::function<void()> call);
  ~LoopTimer();
  LoopTimer(const LoopTimer&) = delete;
  LoopTimer& operator=(const LoopTimer&) = delete;

  // In so many ms, never early; instead of what was set before. repeat_ms 0: once.
  void Start(uint64_t in_ms, uint64_t repeat_ms = 0);
  void Stop();

 private:
  struct Inner {
    uv_timer_t timer;
    std::function<void()> call;
  };
  Inner* inner_;  // freed by uv_close's callback
};

}  // namespace sealgate
