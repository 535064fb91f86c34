/** A member's recent response times, and from them how long to wait before another member is asked too. */
export class Latency {
  readonly #samplesMs = new Float64Array(WINDOW)
  #count = 0
  #hedgeDelayMs = INITIAL_HEDGE_DELAY_MS
  #lostAfterMs = MIN_LOST_AFTER_MS

  /**
   * Twice the 95th percentile of the last 256 answers. At the percentile itself, one signature in twenty of a
   * healthy pool would be made twice. Never below what scheduling noise alone can take, never above what a
   * person would notice.
   */
  get hedgeDelayMs(): number {
    return this.#hedgeDelayMs
  }

  /**
   * Four times that percentile, or the slowest answer as long as there is none; at least a quarter of a second. Past it an
   * answer is not late any more, it does not come.
   */
  get lostAfterMs(): number {
    return this.#lostAfterMs
  }

  record(durationMs: number): void {
    this.#samplesMs[this.#count++ % WINDOW] = durationMs
    if (this.#count < RECOMPUTE_EVERY)
      this.#lostAfterMs = Math.max(TIMES_LOST * durationMs, this.#lostAfterMs)
    // The percentile moves slowly; sorting for every answer would cost more than the answer.
    if (this.#count % RECOMPUTE_EVERY === 0) this.#recompute()
  }

  #recompute(): void {
    const sorted = this.#samplesMs.slice(0, Math.min(this.#count, WINDOW)).sort()
    const p95 = sorted[Math.floor(sorted.length * 0.95)] ?? 0
    this.#hedgeDelayMs = Math.min(Math.max(2 * p95, MIN_HEDGE_DELAY_MS), MAX_HEDGE_DELAY_MS)
    this.#lostAfterMs = Math.max(TIMES_LOST * p95, MIN_LOST_AFTER_MS)
  }
}

const WINDOW = 256
const RECOMPUTE_EVERY = 32
const INITIAL_HEDGE_DELAY_MS = 50
const MIN_HEDGE_DELAY_MS = 10
const MAX_HEDGE_DELAY_MS = 200
const TIMES_LOST = 4
const MIN_LOST_AFTER_MS = 250
