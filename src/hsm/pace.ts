/**
 * How often a member is asked that throttles: at about the rate it grants.
 *
 * A rate cap cannot be seen in how many requests run at once: with one place left an HSM that is quick is still asked
 * thousands of times a second for what it grants fifty times. So its rate is learnt: it is what came back in the last
 * second, and half as much again is asked for. With a cap there is thus a "busy" in every second, and not many, since
 * each in a row doubles the pause after it; a second without one says that the cap is gone.
 * Half as much again, not less: an HSM that is busy now and then for another reason must not be asked for less and less.
 *
 * Pure: no timers and no clock of its own. All times are `performance.now()`.
 */

import { BackOff } from './back-off.ts'

export class Pace {
  readonly #backOff = new BackOff({ firstMs: 5, capMs: 100 })
  readonly #granted = new LastSecond()
  /** undefined: it does not throttle. */
  #perSecond: number | undefined
  /** May be sent now, without waiting for more time to pass. */
  #tokens = 0
  #filledAtMs = 0
  #busyAtMs = 0
  #pausedUntilMs = 0
  /** It has granted nothing since it said "busy". */
  #refusing = false

  /** At most so many requests a second; undefined while there is no such limit. */
  get perSecond(): number | undefined {
    return this.#perSecond
  }

  /** It is asked for nothing until `resume`. */
  get paused(): boolean {
    return this.#pausedUntilMs > 0 || (this.#perSecond !== undefined && this.#tokens < 1)
  }

  /** A host has opened the token: nothing is known of it. */
  reset(): void {
    this.#perSecond = undefined
    this.#pausedUntilMs = 0
    this.#backOff.reset()
  }

  sent(): void {
    if (this.#perSecond !== undefined) this.#tokens--
  }

  /** A signature has come. */
  granted(sentAtMs: number, nowMs: number): void {
    this.#granted.add(nowMs)
    if (sentAtMs < this.#busyAtMs) return
    this.#refusing = false
    this.#backOff.reset()
    this.#pausedUntilMs = 0
  }

  /** It has said "busy" with as few in flight as it can have. */
  busy(nowMs: number): void {
    if (this.#perSecond === undefined) {
      this.#tokens = 0
      this.#filledAtMs = nowMs
    }
    this.#perSecond = Math.max(LEAST_PER_SECOND, this.#granted.count(nowMs) * PROBING)
    this.#busyAtMs = nowMs
    this.#refusing = true
    // Several that were sent together are one answer.
    if (this.#pausedUntilMs === 0) this.#pausedUntilMs = nowMs + this.#backOff.next()
  }

  /** To be called every few milliseconds while anybody waits. @returns true once, when a pause is over. */
  resume(nowMs: number): boolean {
    if (this.#perSecond === undefined) return false
    const wasPaused = this.paused
    if (nowMs - this.#busyAtMs > FREE_AFTER_MS) {
      this.reset()
      return wasPaused
    }
    const burst = this.#refusing ? 1 : this.#perSecond * BURST_SECONDS
    const earned = ((nowMs - this.#filledAtMs) / 1000) * this.#perSecond
    this.#tokens = Math.min(burst, this.#tokens + earned)
    this.#filledAtMs = nowMs
    if (nowMs >= this.#pausedUntilMs) this.#pausedUntilMs = 0
    return wasPaused && !this.paused
  }
}

/** How many in the last second, give or take a tenth of it. */
class LastSecond {
  readonly #slices = new Uint32Array(SLICES)
  /** The number of the newest, counted from time 0. */
  #newest = 0

  add(nowMs: number): void {
    this.#moveTo(nowMs)
    const index = this.#newest % SLICES
    this.#slices[index] = (this.#slices[index] ?? 0) + 1
  }

  count(nowMs: number): number {
    this.#moveTo(nowMs)
    return this.#slices.reduce((sum, slice) => sum + slice, 0)
  }

  #moveTo(nowMs: number): void {
    const slice = Math.floor(nowMs / SLICE_MS)
    const passed = Math.min(slice - this.#newest, SLICES)
    for (let i = 0; i < passed; i++) this.#slices[(slice - i) % SLICES] = 0
    this.#newest = Math.max(this.#newest, slice)
  }
}

const SLICES = 10
const SLICE_MS = 100
const PROBING = 1.5
// What it grants now may not be what it grants in a second; when that is nothing, the pauses alone keep requests few.
const LEAST_PER_SECOND = 50
// Caps are counted by the second: without a "busy" for longer there is none.
const FREE_AFTER_MS = 1100
// What a pause has missed may be made up for.
const BURST_SECONDS = 0.1
