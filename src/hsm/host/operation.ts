/** One TLS signature as C_SignInit and C_Sign want it: mechanism and input of a scheme, and its wire form. */

import { hash } from 'node:crypto'

import type { SignatureScheme } from '../../signing.ts'
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

/** What C_Sign is given for a message: its digest, a DigestInfo with that, or for Ed25519 a copy of the message. */
export function inputOf(scheme: SignatureScheme, message: Uint8Array): Buffer {
  if (scheme.hash === undefined) return Buffer.from(message)
  const digest = hash(scheme.hash, message, 'buffer')
  const { prefix } = MECHANISMS[scheme.name]
  return prefix.length === 0 ? digest : Buffer.concat([prefix, digest])
}
