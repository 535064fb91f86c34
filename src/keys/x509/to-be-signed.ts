/** What a key of the HSM signs besides handshakes: a request for a certificate, or a certificate of its own. */

import { randomBytes } from 'node:crypto'

import type { SignatureScheme } from '../../signing.ts'
import type { AlternativeName } from './alternative-names.ts'
import { type Asn1, bitString, context, encode, integer, oid, parsed, sequence, setOf, time } from './der.ts'
import { type DistinguishedName, encodeDistinguishedName } from './distinguished-name.ts'
import { alternativeNames, leafExtensions } from './extensions.ts'
import { signatureAlgorithm } from './signature-algorithm.ts'

export interface Subject {
  readonly subject: DistinguishedName
  readonly names: readonly AlternativeName[]
}

/** A structure before it is signed. */
export interface ToBeSigned {
  /** DER: exactly what the signature covers. */
  readonly der: Buffer
  readonly scheme: SignatureScheme
}

/** CertificationRequestInfo (RFC 2986 §4.1), with the names as extensionRequest (RFC 2985 §5.4.2). */
export function certificationRequest(
  { subject, names }: Subject,
  key: { readonly spki: Uint8Array; readonly scheme: SignatureScheme },
): ToBeSigned {
  const extensions =
    names.length === 0 ? [] : [attribute('1.2.840.113549.1.9.14', sequence(alternativeNames(names)))]
  const info = sequence(
    integer(Buffer.of(0)),
    encodeDistinguishedName(subject),
    parsed(key.spki),
    context(0, ...extensions),
  )
  return { der: encode(info), scheme: key.scheme }
}

export interface CertificateContent {
  readonly issuer: DistinguishedName
  readonly subject: DistinguishedName
  /** DER of the certified key. */
  readonly spki: Uint8Array
  readonly validity: Validity
  readonly extensions: readonly Asn1[]
  /** Of the issuer's key. */
  readonly scheme: SignatureScheme
}

export interface Validity {
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

/** TBSCertificate, version 3 (RFC 5280 §4.1.2). */
export function certificate({
  issuer,
  subject,
  spki,
  validity,
  extensions,
  scheme,
}: CertificateContent): ToBeSigned {
  const tbs = sequence(
    context(0, integer(Buffer.of(2))),
    integer(serialNumber()),
    signatureAlgorithm(scheme),
    encodeDistinguishedName(issuer),
    sequence(time(new Date(validity.notBeforeMs)), time(new Date(validity.notAfterMs))),
    encodeDistinguishedName(subject),
    parsed(spki),
    context(3, sequence(...extensions)),
  )
  return { der: encode(tbs), scheme }
}

/** A leaf that nobody but its own key vouches for. */
export function selfIssuedCertificate(
  { subject, names }: Subject,
  { spki, scheme }: { readonly spki: Uint8Array; readonly scheme: SignatureScheme },
  validity: Validity,
): ToBeSigned {
  const extensions = leafExtensions({ names, spki, issuerSpki: spki })
  return certificate({ issuer: subject, subject, spki, validity, extensions, scheme })
}

/** The whole: the same form for both (RFC 2986 §4.2, RFC 5280 §4.1). @param signature as TLS has it: ECDSA in DER. */
export function signedStructure({ der, scheme }: ToBeSigned, signature: Uint8Array): Buffer {
  return encode(sequence(parsed(der), signatureAlgorithm(scheme), bitString(signature)))
}

function attribute(type: string, value: Asn1): Asn1 {
  return sequence(oid(type), setOf(value))
}

/** 159 random bits: positive and not zero, RFC 5280 §4.1.2.2. */
function serialNumber(): Buffer {
  const bytes = randomBytes(20)
  bytes.writeUInt8((bytes.readUInt8(0) & 0x3f) | 0x40, 0)
  return bytes
}
