// SPDX-License-Identifier: Apache-2.0
#pragma once

// How Linux schedules our threads (sched(7)). Elsewhere nothing happens.
namespace sealgate {

// The calling thread, and all that it starts from here on, does not interrupt others when it wakes up
// (SCHED_BATCH), and takes long slices (since Linux 6.12): it is given the processor later, and for longer.
// One that has another policy than SCHED_OTHER keeps it, and its slices. 0, or the errno of a kernel that
// refuses the policy; slices are a hint, and nobody is told when they are refused.
[[nodiscard]] int ScheduleAsBatch();

// Of a thread that carries bytes: short slices instead of the long ones that it has inherited, so that it is
// given the processor sooner. Nothing happens to one that is not SCHED_BATCH.
void TakeShortSlices();

}  // namespace sealgate
