/** The requests a member has not answered yet, oldest first. */

import type { Attempt } from './sign-job.ts'

export class InFlight {
  readonly #attempts = new Map<number, Attempt>()
  readonly #stuck = new Set<number>()
  #lastRequest = 0

  get size(): number {
    return this.#attempts.size
  }

  /** Of these, what was in flight when the member was last proved: each keeps a session, and perhaps for good. */
  get stuck(): number {
    return this.#stuck.size
  }

  /** The member is about to be proved with test signatures. */
  takeForStuck(): void {
    for (const request of this.#attempts.keys()) this.#stuck.add(request)
  }

  /** @returns the number of the request on the wire. */
  add(attempt: Attempt): number {
    // Those in flight are few and the numbers are 2^32, so a number is free again long before its turn comes.
    this.#lastRequest = (this.#lastRequest + 1) >>> 0
    this.#attempts.set(this.#lastRequest, attempt)
    return this.#lastRequest
  }

  /** @returns undefined for a number that is not, or no longer, in flight. */
  take(request: number): Attempt | undefined {
    const attempt = this.#attempts.get(request)
    if (attempt !== undefined) this.#attempts.delete(request)
    this.#stuck.delete(request)
    return attempt
  }

  takeAll(): readonly Attempt[] {
    const attempts = [...this.#attempts.values()]
    this.#attempts.clear()
    this.#stuck.clear()
    return attempts
  }

  /** `performance.now()` of when the oldest was sent. */
  oldestSentAtMs(): number | undefined {
    for (const attempt of this.#attempts.values()) return attempt.sentAtMs
    return undefined
  }
}
