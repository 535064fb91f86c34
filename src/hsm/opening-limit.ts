/**
 * How long a member's token may take to open before a call of it is taken for one that never returns.
 *
 * A PKCS#11 call that hangs looks like one that is slow, and some tokens need 20 s for C_Initialize and login. What tells
 * them apart is how long the same token takes when it is well: the fastest of its last openings, since one that fell
 * into an outage says nothing of the next. A guess may be wrong, for an HSM that is slower after it has booted: so once it
 * has cost two hosts in a row, it doubles with every other.
 *
 * Pure: no timers and no clock of its own.
 */
export class OpeningLimit {
  readonly #lastMs: number[] = []
  #hung = 0

  /** From the start of a host, or of a rung of its ladder that makes calls of an opening. */
  get ms(): number {
    if (this.#lastMs.length === 0) return MAX_MS
    const doublings = Math.max(0, this.#hung - 1)
    return Math.min(Math.max(MIN_MS, Math.min(...this.#lastMs) * TIMES_THE_FASTEST) * 2 ** doublings, MAX_MS)
  }

  /** What the next opening may well take: the slowest of the last. Infinity as long as there was none. */
  get expectedMs(): number {
    return this.#lastMs.length === 0 ? Number.POSITIVE_INFINITY : Math.max(...this.#lastMs)
  }

  /** @param tookMs from C_Initialize to the last key found. */
  opened(tookMs: number): void {
    this.#lastMs.push(tookMs)
    if (this.#lastMs.length > OPENINGS) this.#lastMs.shift()
    this.#hung = 0
  }

  /** It took longer, and the host was killed. */
  hung(): void {
    this.#hung++
  }
}

const OPENINGS = 5
// The start of a process on a busy machine, or the wait for quiet before a rung, fits in beside the calls.
const MIN_MS = 5000
const TIMES_THE_FASTEST = 10
const MAX_MS = 30_000
