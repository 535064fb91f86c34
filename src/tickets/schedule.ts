/** When ticket keys take turns. Everything follows from the rotation interval, so that all nodes reckon alike. */

export interface Schedule {
  /** A key makes new tickets for this long, then only opens old ones. */
  readonly rotateMs: number
  /** A key that is to make tickets is known to everybody this long before. */
  readonly leadMs: number
  /** How often a node looks for a new set. */
  readonly pollMs: number
}

export function scheduleFor(rotateMs: number): Schedule {
  return {
    rotateMs,
    leadMs: Math.min(rotateMs / 4, MAX_LEAD_MS),
    pollMs: Math.min(Math.max(rotateMs / 60, MIN_POLL_MS), MAX_POLL_MS),
  }
}

/** How far the clocks of two nodes may be apart without anybody noticing. */
export const CLOCK_SKEW_MS = 5 * 60_000
/** A key makes tickets for one interval and opens them for two more. */
export const LIFE_INTERVALS = 3

// A changed Kubernetes Secret is in its mount after the kubelet's sync period and cache, two minutes or so.
const MAX_LEAD_MS = 10 * 60_000
const MIN_POLL_MS = 1000
const MAX_POLL_MS = 10_000
