/**
 * Keys that a member does not sign with although it is up: when they are tried again, each at its own pace.
 *
 * A member that is up is asked for its other keys meanwhile; leaving `up` ends all waiting, since coming back begins with a
 * test signature of every key anyway.
 */

import { BackOff } from './back-off.ts'

interface Wait {
  readonly backOff: BackOff
  timer: NodeJS.Timeout | undefined
  /** `Date.now()` */
  untilMs: number
}

export class KeyProbes {
  readonly #probe: (key: number) => void
  readonly #waits = new Map<number, Wait>()

  /** @param probe makes a test signature; `failed` or `signed` is to be called at its end. */
  constructor(probe: (key: number) => void) {
    this.#probe = probe
  }

  /** Tries again after a while, longer every time. */
  failed(key: number): void {
    const wait = this.#waits.get(key) ?? { backOff: new BackOff(PAUSES), timer: undefined, untilMs: 0 }
    this.#waits.set(key, wait)
    clearTimeout(wait.timer)
    const pauseMs = wait.backOff.next()
    wait.untilMs = Date.now() + pauseMs
    wait.timer = setTimeout(() => {
      wait.timer = undefined
      this.#probe(key)
    }, pauseMs)
  }

  /** The next trouble of this key is a new one. */
  signed(key: number): void {
    clearTimeout(this.#waits.get(key)?.timer)
    this.#waits.delete(key)
  }

  /** Nothing is tried until the next `failed`; how long a key has waited is remembered. */
  pause(): void {
    for (const wait of this.#waits.values()) {
      clearTimeout(wait.timer)
      wait.timer = undefined
    }
  }

  /** `Date.now()` of the next try; undefined when none is due. */
  untilMs(key: number): number | undefined {
    const wait = this.#waits.get(key)
    return wait?.timer === undefined ? undefined : wait.untilMs
  }
}

// As a member rests: a key comes back within a second.
const PAUSES = { firstMs: 200, capMs: 800 }
