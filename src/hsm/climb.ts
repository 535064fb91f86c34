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

  /** A rung that takes longer hangs, and nothing but the end of its process ends it. */
  get limitMs(): number {
    return RUNG_LIMITS_MS[this.#rung]
  }

  status(): NonNullable<HsmStatus['recovery']> {
    return { rung: this.#rung, since: new Date(this.#sinceMs).toISOString(), attempts: this.#attempt }
  }
}

// A few calls; as many for every key; as long as a host may take for its start. All with the wait for quiet before.
const RUNG_LIMITS_MS = { session: 5000, login: 10_000, keys: 10_000, module: 30_000 } as const
