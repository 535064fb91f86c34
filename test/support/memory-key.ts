/** A SigningKey in software: the second implementation of the seam, for tests that need no HSM. */

import { constants, createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto'

import { HsmError } from '../../src/errors.ts'
import { keySchemes } from '../../src/hsm/mechanism.ts'
import { keyFacts } from '../../src/hsm/public-key.ts'
import type { SignatureScheme, SigningKey, SignRequest } from '../../src/signing.ts'

export class MemoryKey implements SigningKey {
  readonly spki: Uint8Array
  readonly schemes: readonly SignatureScheme[]
  readonly ready = true
  readonly #privateKey: KeyObject

  /** @param pem PKCS#8. */
  constructor(pem: string) {
    this.#privateKey = createPrivateKey(pem)
    this.spki = createPublicKey(this.#privateKey).export({ format: 'der', type: 'spki' })
    this.schemes = keySchemes(keyFacts(this.spki))
  }

  async sign({ scheme, message, deadlineMs, waiter }: SignRequest): Promise<Uint8Array> {
    if (waiter?.hasLeft) throw new HsmError('ERR_HSM_SIGN_ABANDONED', 'nobody wants the signature any more')
    if (performance.now() >= deadlineMs) {
      throw new HsmError('ERR_HSM_SIGN_TIMEOUT', 'the deadline has passed before the key was asked')
    }
    return sign(scheme.hash ?? null, message, signingInput(this.#privateKey, scheme))
  }
}

function signingInput(key: KeyObject, scheme: SignatureScheme): Parameters<typeof sign>[2] {
  if (scheme.padding === undefined) return key
  return scheme.padding === 'pss'
    ? { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: scheme.saltLength ?? 0 }
    : { key, padding: constants.RSA_PKCS1_PADDING }
}
