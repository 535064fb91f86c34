/** Checks a signature with OpenSSL before anybody gets it. */

import { constants, type KeyObject, verify } from 'node:crypto'

import type { SignatureScheme } from '../signing.ts'

/** @param message unhashed, as in SignRequest. @param signature the wire form, as SignatureScheme's owner sends it. */
export function isSignature(
  publicKey: KeyObject,
  scheme: SignatureScheme,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (scheme.padding === undefined) return verify(scheme.hash ?? null, message, publicKey, signature)
  const key =
    scheme.padding === 'pss'
      ? { key: publicKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: scheme.saltLength ?? 0 }
      : { key: publicKey, padding: constants.RSA_PKCS1_PADDING }
  return verify(scheme.hash ?? null, message, key, signature)
}
