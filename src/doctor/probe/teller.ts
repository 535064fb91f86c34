/** Tells the doctor what the probe finds, and which call it is about to make. */

import { Pkcs11Error } from '../../hsm/host/pkcs11.ts'
import type { Fact } from '../facts.ts'

export class Teller {
  readonly #say: (fact: Fact) => void
  #about = ''
  #silent = false

  /** @param say has left this process when it returns: what follows may end it. */
  constructor(say: (fact: Fact) => void) {
    this.#say = say
  }

  fact(fact: Fact): void {
    this.#say(fact)
  }

  calling(call: string): void {
    if (!this.#silent) this.#say({ fact: 'calling', call, about: this.#about })
  }

  /**
   * Goes on when a PKCS#11 function fails, and tells of it.
   *
   * @param about which key, which slot; empty when the call says it all.
   * @param failed is given what is told. @returns undefined when it failed. Anything but a Pkcs11Error is thrown on.
   */
  attempt<T>(about: string, run: () => T, failed?: (error: Pkcs11Error) => void): T | undefined {
    const before = this.#about
    this.#about = about
    try {
      return run()
    } catch (error) {
      if (!(error instanceof Pkcs11Error)) throw error
      this.#say({ fact: 'failed', call: error.call, rv: error.rv, about })
      failed?.(error)
      return undefined
    } finally {
      this.#about = before
    }
  }

  /** Announces once what is called many times: telling of each call would be part of what is measured. */
  silently<T>(call: string, run: () => T): T {
    this.calling(call)
    this.#silent = true
    try {
      return run()
    } finally {
      this.#silent = false
    }
  }
}
