/** One TLS signature as C_SignInit and C_Sign want it: mechanism and input of a scheme, and its wire form. */

import { hash } from 'node:crypto'

import type { Curve, SignatureScheme } from '../../signing.ts'
import { MECHANISMS } from '../mechanism.ts'
import { CK, type Mechanism, type RsaPssParameters } from './pkcs11.ts'

/** CK_MECHANISM of a scheme. */
export function mechanismOf(scheme: SignatureScheme): Mechanism {
  const { mechanism, pss } = MECHANISMS[scheme.name]
  if (pss === undefined) return { mechanism }
  const parameter: RsaPssParameters = {
    type: CK.CK_PARAMS_RSA_PSS,
    ...pss,
    saltLen: scheme.saltLength ?? 0,
  }
  return { mechanism, parameter }
}

/**
 * What C_Sign is given for a message: its digest, a DigestInfo with that, or for Ed25519 a copy of the message.
 *
 * @param curve of an EC key: what of a digest is longer than its order does not count (FIPS 186-5 §6.4.1). Modules would cut
 *   it off as well, or refuse it.
 */
export function inputOf(scheme: SignatureScheme, message: Uint8Array, curve?: Curve): Buffer {
  if (scheme.hash === undefined) return Buffer.from(message)
  const whole = hash(scheme.hash, message, 'buffer')
  const digest = curve === undefined ? whole : whole.subarray(0, ORDER_BYTES[curve])
  const { prefix } = MECHANISMS[scheme.name]
  return prefix.length === 0 ? digest : Buffer.concat([prefix, digest])
}

const ORDER_BYTES: Readonly<Record<Curve, number>> = { 'P-256': 32, 'P-384': 48, 'P-521': 66 }
