// SPDX-License-Identifier: Apache-2.0
#include "loop_timer.h"

#include <utility>

namespace sealgate {

LoopTimer::LoopTimer(uv_loop_t* loop, std::function<void()> call)
    : inner_(new Inner{.timer = {}, .call = std::move(call)}) {
  uv_timer_init(loop, &inner_->timer);
  inner_->timer.data = inner_;
}

LoopTimer::~LoopTimer() {
  uv_close(reinterpret_cast<uv_handle_t*>(&inner_->timer),
           [](uv_handle_t* handle) { delete static_cast<Inner*>(handle->data); });
}

void LoopTimer::Start(uint64_t in_ms, uint64_t repeat_ms) {
  // uv counts from when its loop last woke, which may be long ago.
  uv_update_time(inner_->timer.loop);
  uv_timer_start(
      &inner_->timer, [](uv_timer_t* timer) { static_cast<Inner*>(timer->data)->call(); }, in_ms, repeat_ms);
}

void LoopTimer::Stop() { uv_timer_stop(&inner_->timer); }

}  // namespace sealgate
