/**
 * What each certificate can be offered with, as the HSMs behind its key come and go.
 *
 * A key that nobody can sign with keeps its place for as long as a handshake would wait for a signature: most troubles
 * are shorter, and a handshake that waits is one that does not fail. After that, another certificate for the same
 * name is better than an alert.
 */

import type { SignatureScheme, SigningKey } from '../signing.ts'
import type { CertificateOptions } from './options.ts'

/** A certificate chain and the key that signs for it. */
export interface Credentials {
  readonly certificate: CertificateOptions
  /** `ready`: somebody can sign with it now. A key that does not say always can. */
  readonly key: SigningKey & { readonly ready?: boolean }
}

export interface Offer {
  readonly certificate: CertificateOptions
  /** Of the last time the key was ready; before the first time, what a key of its type can do. */
  readonly schemes: readonly SignatureScheme[]
  /** Ready, or not for so short that handshakes may wait. */
  readonly signable: boolean
}

export class Offers {
  readonly #graceMs: number
  readonly #keys: readonly {
    readonly credentials: Credentials
    schemes: readonly SignatureScheme[]
    /** `performance.now()` value; undefined: never seen ready. */
    readyAtMs: number | undefined
    wasReady: boolean
  }[]

  /** @param before what was offered until now: keys that stay are remembered. */
  constructor(credentials: readonly Credentials[], graceMs: number, before?: Offers) {
    this.#graceMs = graceMs
    const knownKeys = before === undefined ? [] : before.#keys
    this.#keys = credentials.map((each) => {
      const known = knownKeys.find(({ credentials: { key } }) => key === each.key)
      return {
        credentials: each,
        schemes: known?.schemes ?? each.key.schemes,
        readyAtMs: known?.readyAtMs,
        wasReady: known?.wasReady ?? false,
      }
    })
  }

  /**
   * Looks at every key.
   *
   * @returns one offer for each credential, and when to look again although nothing happens: a grace ends then.
   */
  look(nowMs: number): { readonly offers: readonly Offer[]; readonly againInMs: number | undefined } {
    let againInMs: number | undefined
    const offers = this.#keys.map((key): Offer => {
      const { certificate, key: signingKey } = key.credentials
      const ready = signingKey.ready ?? true
      if (ready) key.schemes = signingKey.schemes
      // It was ready until now at the latest: the grace begins when its loss is seen.
      if (ready || key.wasReady) key.readyAtMs = nowMs
      key.wasReady = ready
      const graceLeftMs = (key.readyAtMs ?? Number.NEGATIVE_INFINITY) + this.#graceMs - nowMs
      const inGrace = !ready && graceLeftMs > 0
      if (inGrace) againInMs = Math.min(againInMs ?? graceLeftMs, graceLeftMs)
      return { certificate, schemes: key.schemes, signable: ready || inGrace }
    })
    return { offers, againInMs }
  }
}
