/** A member's climb of the recovery ladder, as its host tells of it. */

import type { RecoveringMessage } from './messages.ts'
import type { HsmStatus } from './status.ts'

export class Climb {
  readonly #sinceMs = Date.now()
  #rung: RecoveringMessage['rung']
  #attempt: number

  constructor({ rung, attempt }: RecoveringMessage) {
    this.#rung = rung
    this.#attempt = attempt
  }

  takes({ rung, attempt }: RecoveringMessage): void {
    this.#rung = rung
    this.#attempt = attempt
  }

  /**
   * A rung that takes longer hangs, and nothing but the end of its process ends it.
   *
   * @param openingMs how long the token may take to open: the other rungs are parts of that.
   */
  limitMs(openingMs: number): number {
    return this.#rung === 'session' ? SESSION_LIMIT_MS : openingMs
  }

  status(): NonNullable<HsmStatus['recovery']> {
    return { rung: this.#rung, since: new Date(this.#sinceMs).toISOString(), attempts: this.#attempt }
  }
}

// A few calls, with the wait for quiet before.
const SESSION_LIMIT_MS = 5000
