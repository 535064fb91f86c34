/**
 * Which rung to take next: pure policy, no calls, no timers (recovery.ts has those).
 *
 * The first error after an outage often differs from those that follow: CKR_DEVICE_ERROR once, then
 * CKR_SESSION_HANDLE_INVALID for ever. So an error only says where to start; whether a rung has helped is seen by
 * what comes after it, and if it has not, the next one is taken.
 */

import { type RecoveryAction, RUNGS, type Rung } from '../ckr.ts'

export class Ladder {
  /** The last rung taken in this trouble. */
  #taken: Rung | undefined
  #attempts = 0
  #doneAtMs = 0
  #moduleSinceMs: number | undefined
  #failingSinceMs: number | undefined
  #signedSinceRung = false

  /** Rungs taken since the trouble began. */
  get attempts(): number {
    return this.#attempts
  }

  /** The token was opened anew in this trouble: what fails now does so in spite of all that can be done here. */
  climbed(nowMs: number): boolean {
    return this.#taken === 'module' && !this.#helped(nowMs)
  }

  /** A signature was made. */
  succeeded(): void {
    this.#failingSinceMs = undefined
    this.#signedSinceRung = true
  }

  /** A signature, or the first opening, failed. @returns the rung to take; undefined: none yet, or none would help. */
  failed(action: RecoveryAction, nowMs: number): Rung | undefined {
    if (action === 'fail-over' || action === 'stop') return undefined
    if (this.#helped(nowMs)) this.#reset()
    this.#failingSinceMs ??= nowMs
    const failingMs = nowMs - this.#failingSinceMs
    switch (action) {
      case 'if-lasting':
        return failingMs < LASTING_MS ? undefined : this.#take('session', nowMs)
      case 'if-repeated':
        // Right after a rung it is no hiccup any more.
        return failingMs < REPEATED_MS && this.#taken === undefined ? undefined : this.#take('session', nowMs)
      default:
        return this.#take(action, nowMs)
    }
  }

  /** The rung taken last has failed itself, or leaves work for the next one. */
  next(nowMs: number): Rung {
    return this.#take('session', nowMs)
  }

  /** The rung taken last is done; what comes now shows whether it has helped. */
  done(nowMs: number): void {
    this.#doneAtMs = nowMs
    this.#failingSinceMs = undefined
    this.#signedSinceRung = false
  }

  #helped(nowMs: number): boolean {
    return this.#signedSinceRung && nowMs - this.#doneAtMs > PROOF_MS
  }

  #reset(): void {
    this.#taken = undefined
    this.#attempts = 0
    this.#moduleSinceMs = undefined
  }

  #take(lowest: Rung, nowMs: number): Rung {
    const index = this.#taken === undefined ? 0 : RUNGS.indexOf(this.#taken) + 1
    let rung = RUNGS[Math.max(index, RUNGS.indexOf(lowest))] ?? 'host'
    if (rung === 'module') this.#moduleSinceMs ??= nowMs
    // An HSM that boots takes its time, and a new process costs more than another look.
    if (rung === 'host' && nowMs - (this.#moduleSinceMs ?? nowMs) < HOST_AFTER_MS) rung = 'module'
    this.#taken = rung
    this.#attempts++
    return rung
  }
}

/** No signature for this long, and CKR_DEVICE_ERROR was no hiccup; many concurrent failures are one moment. */
const REPEATED_MS = 100
/** … and CKR_FUNCTION_FAILED was no throttling: rate caps are counted by the second, and one may be used up at once. */
export const LASTING_MS = 1500
/** An error within this time after a rung: the rung did not help, whatever was signed in between. */
export const PROOF_MS = 1000
/** The module is initialised again and again for this long before the process is replaced. */
export const HOST_AFTER_MS = 10_000
