/**
 * What each certificate can be offered with, as the HSMs behind its key come and go.
 *
 * A key that nobody can sign with keeps its place for as long as a handshake would wait for a signature: most troubles
 * are shorter, and a handshake that waits is one that does not fail. After that, another certificate for the same
 * name is better than an alert. So it is with a scheme that only one of the HSMs can do, RSA-PSS say: TLS 1.3 does not
 * end with every hiccup of that one.
 */

import { type SignatureScheme, type SigningKey, schemes as schemesInOrder } from '../signing.ts'
import type { CertificateOptions } from './options.ts'

/** A certificate chain and the key that signs for it. */
export interface Credentials {
  readonly certificate: CertificateOptions
  /** `ready`: somebody can sign with it now. A key that does not say always can. */
  readonly key: SigningKey & { readonly ready?: boolean }
}

export interface Offer {
  readonly certificate: CertificateOptions
  /**
   * Of the last time the key was ready, and what it has lost so shortly before that handshakes may wait for it; before
   * the first time, what a key of its type can do.
   */
  readonly schemes: readonly SignatureScheme[]
  /** Ready, or not for so short that handshakes may wait. */
  readonly signable: boolean
}

interface OfferedKey {
  readonly credentials: Credentials
  /** Those that it has lost included. */
  schemes: readonly SignatureScheme[]
  /** Code points of schemes that it has lost and are offered still, with the `performance.now()` of their loss. */
  readonly lost: Map<number, number>
  /** `performance.now()` value; undefined: never seen ready. */
  readyAtMs: number | undefined
  wasReady: boolean
}

export class Offers {
  readonly #graceMs: number
  readonly #keys: readonly OfferedKey[]

  /** @param before what was offered until now: keys that stay are remembered. */
  constructor(credentials: readonly Credentials[], graceMs: number, before?: Offers) {
    this.#graceMs = graceMs
    const knownKeys = before === undefined ? [] : before.#keys
    this.#keys = credentials.map((each) => {
      const known = knownKeys.find(({ credentials: { key } }) => key === each.key)
      return {
        credentials: each,
        schemes: known?.schemes ?? each.key.schemes,
        lost: new Map(known?.lost),
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
      if (ready) lookAtSchemes(key, nowMs, this.#graceMs)
      // It was ready until now at the latest: the grace begins when its loss is seen.
      if (ready || key.wasReady) key.readyAtMs = nowMs
      key.wasReady = ready
      const graceLeftMs = (key.readyAtMs ?? Number.NEGATIVE_INFINITY) + this.#graceMs - nowMs
      const inGrace = !ready && graceLeftMs > 0
      const ends = ready ? [...key.lost.values()].map((lostAtMs) => lostAtMs + this.#graceMs - nowMs) : []
      if (inGrace) ends.push(graceLeftMs)
      if (ends.length > 0) againInMs = Math.min(againInMs ?? Number.POSITIVE_INFINITY, ...ends)
      return { certificate, schemes: key.schemes, signable: ready || inGrace }
    })
    return { offers, againInMs }
  }
}

/** Of a key that is ready. What nobody has seen it do before, it has not lost. */
function lookAtSchemes(key: OfferedKey, nowMs: number, graceMs: number): void {
  const present = new Set(key.credentials.key.schemes.map(({ codePoint }) => codePoint))
  const known = key.readyAtMs === undefined ? [] : key.schemes
  for (const { codePoint } of known) {
    if (present.has(codePoint)) key.lost.delete(codePoint)
    else if (!key.lost.has(codePoint)) key.lost.set(codePoint, nowMs)
  }
  for (const [codePoint, lostAtMs] of key.lost) if (nowMs - lostAtMs >= graceMs) key.lost.delete(codePoint)
  key.schemes = schemesInOrder.filter(({ codePoint }) => present.has(codePoint) || key.lost.has(codePoint))
}
