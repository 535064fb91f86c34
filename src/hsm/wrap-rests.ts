/**
 * Which HSMs are not asked to wrap or unwrap for a while, because signatures have had to pay for it.
 *
 * Wrapping runs on the host's own thread: a C_Encrypt that never returns takes the handshakes' signatures with it until the
 * host is killed, and lost handles make it recover. Ticket keys are worth the one once in a long while and never in two HSMs
 * at a time, and the other not again and again.
 *
 * Pure: no timers and no clock of its own.
 */

import { HsmError } from '../errors.ts'
import { BackOff } from './back-off.ts'

export class WrapRests {
  /** By the member itself: an HSM that is configured anew begins anew. */
  readonly #members = new WeakMap<object, { rest: Rest; readonly backOffs: Map<Price, BackOff> }>()
  #all: Rest | undefined

  /** Why this member is not asked now. */
  reason(member: object, nowMs: number): HsmError | undefined {
    const rest = [this.#members.get(member)?.rest, this.#all].find((each) => each && nowMs < each.untilMs)
    if (rest === undefined) return undefined
    const seconds = Math.ceil((rest.untilMs - nowMs) / 1000)
    const text = `${rest.error.message}; nobody asks again for ${seconds} s`
    return new HsmError(rest.code, text, { cause: rest.error })
  }

  /** @param error of a member that was up when it was asked. @returns true when nobody else is to be asked either. */
  failed(member: object, error: HsmError, nowMs: number): boolean {
    const { code } = error
    if (!isPriced(code)) {
      this.answered(member)
      return false
    }
    const price = PRICES[code]
    const backOffs = this.#members.get(member)?.backOffs ?? new Map<Price, BackOff>()
    const backOff = backOffs.get(price) ?? new BackOff(price)
    backOffs.set(price, backOff)
    this.#members.set(member, { rest: { code, error, untilMs: nowMs + backOff.next() }, backOffs })
    if (price === HOST) this.#all = { code, error, untilMs: nowMs + ALL_REST_MS }
    return price === HOST
  }

  answered(member: object): void {
    this.#members.delete(member)
  }
}

function isPriced(code: string): code is keyof typeof PRICES {
  return Object.hasOwn(PRICES, code)
}

interface Rest {
  readonly code: keyof typeof PRICES
  readonly error: HsmError
  readonly untilMs: number
}

/** What the member did for it, and how long it rests then. */
type Price = ConstructorParameters<typeof BackOff>[0]

const HOST: Price = { firstMs: 2 * 60_000, capMs: 30 * 60_000 }
const RECOVERY: Price = { firstMs: 4000, capMs: 2 * 60_000 }
const PRICES = {
  ERR_HSM_SIGN_TIMEOUT: HOST,
  ERR_HSM_HOST_EXITED: HOST,
  ERR_HSM_SESSION_LOST: RECOVERY,
  ERR_HSM_TOKEN_NOT_FOUND: RECOVERY,
  ERR_HSM_FAILED: RECOVERY,
} as const
// As long as the slowest token may take to open: until then the one that hung signs nothing.
const ALL_REST_MS = 30_000
