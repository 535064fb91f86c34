// SPDX-License-Identifier: Apache-2.0
#include "scheduling.h"

#ifdef __linux__
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#endif

namespace sealgate {

#ifdef __linux__

namespace {

constexpr int kCaller = 0;
// The kernel takes 0.1 to 100 ms; its own are 1.4 ms with two processors, 2.8 with eight and more.
constexpr uint64_t kLongNs = 8'000'000;
constexpr uint64_t kShortNs = 100'000;

// The first version of sched_attr (sched_setattr(2)), for which not every C library has a name.
struct Attributes {
  uint32_t size = sizeof(Attributes);
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0;
  uint64_t deadline = 0;
  uint64_t period = 0;
};

// The system calls themselves, as musl's functions always refuse.
int Policy() { return static_cast<int>(syscall(SYS_sched_getscheduler, kCaller)); }

void TakeSlicesOf(uint64_t nanoseconds) {
  Attributes attributes;
  if (syscall(SYS_sched_getattr, kCaller, &attributes, sizeof(attributes), 0) != 0) return;
  attributes.runtime = nanoseconds;
  syscall(SYS_sched_setattr, kCaller, &attributes, 0);
}

}  // namespace

int ScheduleAsBatch() {
  const sched_param no_priority{};
  // Who was given a policy by somebody else, with chrt or by systemd, keeps it.
  if (Policy() != SCHED_OTHER) return 0;
  if (syscall(SYS_sched_setscheduler, kCaller, SCHED_BATCH, &no_priority) != 0) return errno;
  TakeSlicesOf(kLongNs);
  return 0;
}

void TakeShortSlices() {
  if (Policy() == SCHED_BATCH) TakeSlicesOf(kShortNs);
}

#else

int ScheduleAsBatch() { return 0; }
void TakeShortSlices() {}

#endif

}  // namespace sealgate
