/** OCSP responses byte by byte (RFC 6960 §4.2.1), because no responder says what is not so. */

import { createHash, sign, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'

export interface CraftedAnswer {
  readonly status?: 'good' | 'revoked' | 'unknown'
  /** Seconds from now. */
  readonly thisUpdateS?: number
  /** null: not said. */
  readonly nextUpdateS?: number | null
  /** PEM files: signs instead of the issuer, and comes along. */
  readonly delegate?: { readonly leaf: string; readonly key: string }
}

/** PEM files. The issuer's key is on P-256. */
export interface AnswerFiles {
  readonly leaf: string
  readonly issuer: string
  readonly issuerKey: string
}

/** DER of an OCSPResponse. */
export function craftAnswer(files: AnswerFiles, answer: CraftedAnswer): Buffer {
  const { status = 'good', thisUpdateS = -60, nextUpdateS = 3_600, delegate } = answer
  const leaf = certificate(files.leaf)
  const issuer = certificate(files.issuer)
  const signer = delegate === undefined ? issuer : certificate(delegate.leaf)
  const key = readFileSync(delegate?.key ?? files.issuerKey, 'utf8')

  const certId = sequence(
    sequence(SHA1, tlv(0x05)),
    tlv(0x04, sha1(subject(issuer))),
    tlv(0x04, sha1(publicKeyBits(issuer))),
    tlv(0x02, serial(leaf)),
  )
  const next = nextUpdateS === null ? [] : [tlv(0xa0, generalizedTime(nextUpdateS))]
  const single = sequence(certId, STATUS[status](), generalizedTime(thisUpdateS), ...next)
  const responderId = tlv(0xa2, tlv(0x04, sha1(publicKeyBits(signer))))
  const data = sequence(responderId, generalizedTime(thisUpdateS), sequence(single))
  const signature = tlv(0x03, Buffer.of(0), sign('sha256', data, key))
  const certificates = delegate === undefined ? [] : [tlv(0xa0, sequence(Buffer.from(signer.raw)))]
  const basic = sequence(data, sequence(ECDSA_SHA256), signature, ...certificates)
  return sequence(tlv(0x0a, Buffer.of(0)), tlv(0xa0, sequence(BASIC, tlv(0x04, basic))))
}

/** An OCSPResponse that is nothing but an error: 1 malformedRequest, 2 internalError, 3 tryLater, 6 unauthorized. */
export function errorAnswer(status: number): Buffer {
  return sequence(tlv(0x0a, Buffer.of(status)))
}

const STATUS = {
  good: () => tlv(0x80),
  revoked: () => tlv(0xa1, generalizedTime(-7_200), tlv(0xa0, tlv(0x0a, Buffer.of(1)))),
  unknown: () => tlv(0x82),
}

function certificate(file: string): X509Certificate {
  return new X509Certificate(readFileSync(file))
}

function sha1(bytes: Buffer): Buffer {
  return createHash('sha1').update(bytes).digest()
}

function serial({ serialNumber }: X509Certificate): Buffer {
  const bytes = Buffer.from(
    serialNumber.padStart(serialNumber.length + (serialNumber.length % 2), '0'),
    'hex',
  )
  return (bytes[0] ?? 0) < 0x80 ? bytes : Buffer.concat([Buffer.of(0), bytes])
}

/** version, serialNumber, signature, issuer, validity, subject. */
function subject({ raw }: X509Certificate): Buffer {
  const [tbs] = children(raw)
  return (tbs && children(tbs)[5]) ?? Buffer.alloc(0)
}

/** The BIT STRING of the SubjectPublicKeyInfo, without its count of unused bits. */
function publicKeyBits({ publicKey }: X509Certificate): Buffer {
  const bits = children(publicKey.export({ type: 'spki', format: 'der' }))[1]
  return bits === undefined ? Buffer.alloc(0) : content(bits).subarray(1)
}

function content(der: Buffer): Buffer {
  const first = der[1] ?? 0
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f
  const length = lengthBytes === 0 ? first : der.readUIntBE(2, lengthBytes)
  const start = 2 + lengthBytes
  return der.subarray(start, start + length)
}

/** The elements of a constructed one, whole. */
function children(der: Buffer): Buffer[] {
  const found: Buffer[] = []
  for (let rest = content(der); rest.length > 0; ) {
    const inner = content(rest)
    const size = inner.byteOffset - rest.byteOffset + inner.length
    found.push(rest.subarray(0, size))
    rest = rest.subarray(size)
  }
  return found
}

function generalizedTime(fromNowS: number): Buffer {
  const text = new Date(Date.now() + fromNowS * 1000).toISOString().replaceAll(/[-:T]/g, '').slice(0, 14)
  return tlv(0x18, Buffer.from(`${text}Z`, 'latin1'))
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tlv(0x30, ...parts)
}

function tlv(tag: number, ...parts: readonly Buffer[]): Buffer {
  const value = Buffer.concat(parts)
  return Buffer.concat([Buffer.of(tag, ...lengthBytes(value.length)), value])
}

/** As short as can be: that is what DER is, and what is signed. */
function lengthBytes(length: number): number[] {
  if (length < 0x80) return [length]
  return length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
}

/** Object identifiers, whole. */
const SHA1 = Buffer.from('06052b0e03021a', 'hex')
const ECDSA_SHA256 = Buffer.from('06082a8648ce3d040302', 'hex')
const BASIC = Buffer.from('06092b0601050507300101', 'hex')
