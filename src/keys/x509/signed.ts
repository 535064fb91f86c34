/** Checks a signed structure as whoever receives it will: with OpenSSL, over the bytes that stand in it. */

import { keyFacts } from '../../hsm/public-key.ts'
import { isSignature } from '../../hsm/verify-signature.ts'
import { contentOf, elements } from './der.ts'
import { schemeOfAlgorithm } from './signature-algorithm.ts'

/** Has this key signed it? @param der a certificate or a certification request. @param spki DER SubjectPublicKeyInfo. */
export function isSignedBy(spki: Uint8Array, der: Uint8Array): boolean {
  const [toBeSigned, algorithm, signature] = elements(der)
  if (toBeSigned === undefined || algorithm === undefined || signature === undefined) return false
  const scheme = schemeOfAlgorithm(algorithm)
  if (scheme === undefined) return false
  // The first byte of a BIT STRING says how many bits of the last one are unused: none.
  return isSignature(keyFacts(spki).publicKey, scheme, toBeSigned, contentOf(signature).subarray(1))
}
