/**
 * A key made outside of any HSM, to be put into two of them. It lives in the test's memory, and as long as the test.
 */

import type { KeyObject } from 'node:crypto'

export interface MovableKey {
  readonly pkcs8Pem: string
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Buffer
}

/** @param pair from `generateKeyPairSync`. */
export function movableKey(pair: { publicKey: KeyObject; privateKey: KeyObject }): MovableKey {
  return {
    pkcs8Pem: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    spki: pair.publicKey.export({ type: 'spki', format: 'der' }),
  }
}
