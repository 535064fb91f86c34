/** Extensions of certificates and of requests for them (RFC 5280 §4.2). */

import { createHash } from 'node:crypto'

import { type AlternativeName, encodeAlternativeNames, encodeSubtrees } from './alternative-names.ts'
import {
  type Asn1,
  bitString,
  boolean,
  context,
  contextPrimitive,
  encode,
  integer,
  octetString,
  oid,
  sequence,
} from './der.ts'

export function alternativeNames(names: readonly AlternativeName[]): Asn1 {
  return extension('2.5.29.17', false, encodeAlternativeNames(names))
}

/** Of a certificate that a TLS server shows. @param leaf.spki DER of its key; `issuerSpki` of the issuer's. */
export function leafExtensions(leaf: {
  readonly names: readonly AlternativeName[]
  readonly spki: Uint8Array
  readonly issuerSpki: Uint8Array
}): readonly Asn1[] {
  return [
    noAuthority(),
    keyUsage(DIGITAL_SIGNATURE),
    serverAuthentication(),
    ...(leaf.names.length === 0 ? [] : [alternativeNames(leaf.names)]),
    subjectKeyIdentifier(leaf.spki),
    authorityKeyIdentifier(leaf.issuerSpki),
  ]
}

/**
 * Of a CA that issues leaves itself, and for these names and addresses alone: whoever trusts it trusts it for nothing else.
 *
 * @param spki DER of its key.
 */
export function authorityExtensions(names: readonly AlternativeName[], spki: Uint8Array): readonly Asn1[] {
  return [
    extension('2.5.29.19', true, sequence(boolean(true), integer(Buffer.of(0)))),
    keyUsage(KEY_CERT_SIGN | CRL_SIGN),
    extension('2.5.29.30', true, sequence(context(0, ...encodeSubtrees(names)))),
    subjectKeyIdentifier(spki),
    authorityKeyIdentifier(spki),
  ]
}

/** It issues nothing. */
function noAuthority(): Asn1 {
  return extension('2.5.29.19', true, sequence())
}

/** @param bits of the first octet; the unused ones at its end are not encoded (DER). */
function keyUsage(bits: number): Asn1 {
  return extension('2.5.29.15', true, bitString(Buffer.of(bits), 31 - Math.clz32(bits & -bits)))
}

function serverAuthentication(): Asn1 {
  return extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1')))
}

/** @param spki DER of the certified key. */
function subjectKeyIdentifier(spki: Uint8Array): Asn1 {
  return extension('2.5.29.14', false, octetString(keyIdentifier(spki)))
}

/** @param spki DER of the issuer's key. */
function authorityKeyIdentifier(spki: Uint8Array): Asn1 {
  return extension('2.5.29.35', false, sequence(contextPrimitive(0, keyIdentifier(spki))))
}

function extension(id: string, critical: boolean, value: Asn1): Asn1 {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), octetString(encode(value)))
}

/** RFC 7093 §2, method 4: a hash of the SubjectPublicKeyInfo. */
function keyIdentifier(spki: Uint8Array): Buffer {
  return createHash('sha256').update(spki).digest()
}

/** KeyUsage as bits of the first octet, RFC 5280 §4.2.1.3. */
const DIGITAL_SIGNATURE = 0x80
const KEY_CERT_SIGN = 0x04
const CRL_SIGN = 0x02
