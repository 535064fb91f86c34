/** Extensions of certificates and of requests for them (RFC 5280 §4.2). */

import { createHash } from 'node:crypto'

import { type AlternativeName, encodeAlternativeNames } from './alternative-names.ts'
import { type Asn1, bitString, boolean, contextPrimitive, encode, octetString, oid, sequence } from './der.ts'

export function alternativeNames(names: readonly AlternativeName[]): Asn1 {
  return extension('2.5.29.17', false, encodeAlternativeNames(names))
}

/** A leaf: it issues nothing. */
export function noAuthority(): Asn1 {
  return extension('2.5.29.19', true, sequence())
}

export function digitalSignature(): Asn1 {
  return extension('2.5.29.15', true, bitString(Buffer.of(0x80), 7))
}

export function serverAuthentication(): Asn1 {
  return extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1')))
}

/** @param spki DER of the certified key. */
export function subjectKeyIdentifier(spki: Uint8Array): Asn1 {
  return extension('2.5.29.14', false, octetString(keyIdentifier(spki)))
}

/** @param spki DER of the issuer's key. */
export function authorityKeyIdentifier(spki: Uint8Array): Asn1 {
  return extension('2.5.29.35', false, sequence(contextPrimitive(0, keyIdentifier(spki))))
}

function extension(id: string, critical: boolean, value: Asn1): Asn1 {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), octetString(encode(value)))
}

/** RFC 7093 §2, method 4: a hash of the SubjectPublicKeyInfo. */
function keyIdentifier(spki: Uint8Array): Buffer {
  return createHash('sha256').update(spki).digest()
}
