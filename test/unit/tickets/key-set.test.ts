import { expect, test } from 'vitest'
import { firstKey, freshSet, hastenedSet } from '../../../src/tickets/key-set.ts'
import { scheduleFor } from '../../../src/tickets/schedule.ts'

const HOUR_MS = 3_600_000
const schedule = scheduleFor(12 * HOUR_MS)

test.each([
  ['there is a next key already', HOUR_MS],
  ['it is due', 13 * HOUR_MS],
  ['it has long been due', 30 * HOUR_MS],
])('a key that was called for takes over as soon as everybody can know it: %s', (_, laterMs) => {
  const set = freshSet(schedule, 0)

  const hastened = hastenedSet(set, schedule, laterMs)

  const before = firstKey(set, laterMs)
  const after = firstKey(hastened, laterMs + schedule.leadMs)
  expect(after?.fromMs).toBeGreaterThan(before?.fromMs ?? Infinity)
  // Tickets of the one before open for as long as ever.
  const kept = hastened.keys.find(({ fromMs }) => fromMs === before?.fromMs)
  expect(kept?.untilMs).toBeGreaterThanOrEqual(laterMs + 2 * schedule.rotateMs)
})
