/**
 * Decides whether C_Sign is called on this thread or on one of libuv's pool.
 *
 * A token in software answers in 30 µs, and the way through the thread pool costs more CPU than that. A token
 * behind a network must never hold up this thread. So a blocking call is tried now and then, and is the
 * rule only for as long as it is quick: one slow call ends it, and each slow trial in a row quadruples the rest
 * before the next, so that a networked HSM sees at most one blocking call per half minute.
 */
export class CallMode {
  #blocking = false
  #nextTrialMs = 0
  #restMs = MIN_REST_MS

  /** Call C_Sign on this thread now? If so, report how long it took with `record()`. */
  mayBlock(nowMs: number): boolean {
    return this.#blocking || nowMs >= this.#nextTrialMs
  }

  /** @param durationMs of a blocking C_Sign. */
  record(durationMs: number, nowMs: number): void {
    if (durationMs <= QUICK_MS) {
      this.#blocking = true
      this.#restMs = MIN_REST_MS
      return
    }
    this.#blocking = false
    this.#nextTrialMs = nowMs + this.#restMs
    this.#restMs = Math.min(this.#restMs * 4, MAX_REST_MS)
  }
}

// A software token takes 30-60 µs for P-256 or Ed25519; nothing behind a network answers within 200.
const QUICK_MS = 0.2
const MIN_REST_MS = 1
const MAX_REST_MS = 30_000
