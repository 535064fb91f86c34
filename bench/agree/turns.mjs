// @ts-check
/** Two programs share the machine by turns, so that its moods meet both alike. */

import { setTimeout as delay } from 'node:timers/promises'

/** Long against going on with cold caches, short against the seconds after which a virtual machine is faster or slower. */
const TURN_MS = 50

/**
 * While one runs, the other is stopped. After each round both have had the same time.
 *
 * @template T
 * @param {readonly number[]} groups process groups, all running
 * @param {Promise<T>} work what they do
 * @returns {Promise<T>} when all have ended, or one has failed; none is stopped then
 */
export async function takeTurns(groups, work) {
  let over = false
  const done = work.finally(() => {
    over = true
  })
  // Whoever awaits this function gets what it fails with.
  done.catch(() => {})
  const turns = groups.map((group) => ({ group, ranMs: 0 }))
  for (let goalMs = TURN_MS; !over; goalMs += TURN_MS) {
    for (const turn of turns) {
      for (const group of groups) if (group !== turn.group) signal(group, 'SIGSTOP')
      signal(turn.group, 'SIGCONT')
      const sinceMs = performance.now()
      // Where all processors are busy a timer is late, for one program more than for the other: the next turn is so much shorter.
      await delay(goalMs - turn.ranMs)
      turn.ranMs += performance.now() - sinceMs
    }
  }
  for (const group of groups) signal(group, 'SIGCONT')
  return done
}

/**
 * @param {number} group
 * @param {NodeJS.Signals} name
 */
function signal(group, name) {
  try {
    process.kill(-group, name)
  } catch {
    // All of it has ended.
  }
}
