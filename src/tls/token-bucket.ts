/** A rate with a burst: so many tokens a second, at most `burst` of them saved up. Starts full. */

import type { Rate } from './options.ts'

export class TokenBucket {
  readonly #perMs: number
  readonly #burst: number
  #tokens: number
  #atMs: number

  constructor({ perSecond, burst }: Rate, nowMs: number) {
    this.#perMs = perSecond / 1000
    this.#burst = burst
    this.#tokens = burst
    this.#atMs = nowMs
  }

  /**
   * Takes a token, one that is yet to come if need be.
   * @returns milliseconds until it is there, 0 for now; undefined, and nothing taken, when that is more than `maxWaitMs`.
   */
  take(nowMs: number, maxWaitMs: number): number | undefined {
    this.#refill(nowMs)
    const waitMs = Math.max(0, (1 - this.#tokens) / this.#perMs)
    if (waitMs > maxWaitMs) return undefined
    this.#tokens -= 1
    return waitMs
  }

  /** The last token taken was not used. */
  giveBack(): void {
    this.#tokens += 1
  }

  /** As good as new: nobody would notice if it were forgotten. */
  isFull(nowMs: number): boolean {
    this.#refill(nowMs)
    return this.#tokens >= this.#burst
  }

  #refill(nowMs: number): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + (nowMs - this.#atMs) * this.#perMs)
    this.#atMs = nowMs
  }
}
