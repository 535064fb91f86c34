/**
 * Writes DER (X.690) with node-forge's encoder, and reads the outermost shape of what is signed.
 *
 * node-forge's own certificate API signs with an RSA key in memory, and knows no other kinds.
 */

import forge from 'node-forge'

const { asn1 } = forge
const { Class, Type } = asn1

export type Asn1 = forge.asn1.Asn1

export function sequence(...values: readonly Asn1[]): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, [...values])
}

/** Of one value: DER would want several in order. */
export function setOf(value: Asn1): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.SET, true, [value])
}

/** [tag] around other values. */
export function context(tag: number, ...values: readonly Asn1[]): Asn1 {
  return asn1.create(Class.CONTEXT_SPECIFIC, tag, true, [...values])
}

/** [tag] instead of the tag of a primitive type. */
export function contextPrimitive(tag: number, bytes: Uint8Array): Asn1 {
  return asn1.create(Class.CONTEXT_SPECIFIC, tag, false, binary(bytes))
}

export function oid(dotted: string): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.OID, false, asn1.oidToDer(dotted).getBytes())
}

/** @param bytes big-endian, with the leading zero that keeps it positive. */
export function integer(bytes: Uint8Array): Asn1 {
  return primitive(Type.INTEGER, bytes)
}

export function octetString(bytes: Uint8Array): Asn1 {
  return primitive(Type.OCTETSTRING, bytes)
}

/** @param unused bits at the end of the last byte. */
export function bitString(bytes: Uint8Array, unused = 0): Asn1 {
  return primitive(Type.BITSTRING, Buffer.concat([Buffer.of(unused), bytes]))
}

export function boolean(value: boolean): Asn1 {
  return primitive(Type.BOOLEAN, Buffer.of(value ? 0xff : 0))
}

export function nothing(): Asn1 {
  return primitive(Type.NULL, new Uint8Array())
}

export function utf8String(text: string): Asn1 {
  return primitive(Type.UTF8, Buffer.from(text))
}

export function printableString(text: string): Asn1 {
  return primitive(Type.PRINTABLESTRING, Buffer.from(text, 'latin1'))
}

/** UTCTime until 2049, GeneralizedTime from then on (RFC 5280 §4.1.2.5). */
export function time(date: Date): Asn1 {
  return date.getUTCFullYear() < 2050
    ? asn1.create(Class.UNIVERSAL, Type.UTCTIME, false, asn1.dateToUtcTime(date))
    : asn1.create(Class.UNIVERSAL, Type.GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(date))
}

/** What is DER already, e.g. a SubjectPublicKeyInfo. @throws {Error} when it is not. */
export function parsed(der: Uint8Array): Asn1 {
  return asn1.fromDer(binary(der))
}

export function encode(value: Asn1): Buffer {
  return Buffer.from(asn1.toDer(value).getBytes(), 'binary')
}

/** @param label e.g. `CERTIFICATE` (RFC 7468). */
export function pem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}

/** The elements of a SEQUENCE or another constructed value, each as it stands. @throws {RangeError} when it is cut off. */
export function elements(der: Uint8Array): Buffer[] {
  const { contentAt, end } = headerAt(der, 0)
  const found: Buffer[] = []
  for (let at = contentAt; at < end; ) {
    const element = headerAt(der, at)
    found.push(Buffer.from(der.subarray(at, element.end)))
    at = element.end
  }
  return found
}

/** The bytes within one value. @throws {RangeError} when it is cut off. */
export function contentOf(der: Uint8Array): Buffer {
  const { contentAt, end } = headerAt(der, 0)
  return Buffer.from(der.subarray(contentAt, end))
}

/** Tags here are all of one byte, lengths of at most four. */
function headerAt(der: Uint8Array, at: number): { contentAt: number; end: number } {
  const first = der[at + 1] ?? 0
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f
  let length = lengthBytes === 0 ? first : 0
  for (let index = 0; index < lengthBytes; index++) length = length * 256 + (der[at + 2 + index] ?? 0)
  const contentAt = at + 2 + lengthBytes
  const end = contentAt + length
  if (lengthBytes > 4 || first === 0x80 || end > der.length) throw new RangeError('DER is cut off')
  return { contentAt, end }
}

function primitive(type: forge.asn1.Type, bytes: Uint8Array): Asn1 {
  return asn1.create(Class.UNIVERSAL, type, false, binary(bytes))
}

function binary(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('binary')
}
