// @ts-check
/**
 * X.509 certificates whose signature comes from elsewhere, here from a token (RFC 5280).
 *
 * node-forge's own certificate API signs with an RSA key in memory; its ASN.1 writer is what is used.
 */

import { createHash, randomBytes } from 'node:crypto'
import forge from 'node-forge'

const { asn1 } = forge
const { Class, Type } = asn1

/**
 * @typedef {object} CertificateRequest
 * @property {string} subject common name
 * @property {import('node:crypto').KeyObject} publicKey
 * @property {string} issuer common name
 * @property {import('node:crypto').KeyObject} issuerKey public half
 * @property {number} days how long it is valid, from now
 * @property {readonly string[]} names a CA may issue for these only; a leaf is for these
 * @property {readonly Buffer[]} addresses IP addresses in network order, likewise
 * @property {boolean} ca
 */

/**
 * Builds a certificate and has it signed with ecdsa-with-SHA256.
 *
 * @param {CertificateRequest} request
 * @param {(digest: Buffer) => Buffer} sign SHA-256 digest → DER Ecdsa-Sig-Value, by the issuer's key
 * @returns {string} PEM
 */
export function issueCertificate(request, sign) {
  const toBeSigned = tbsCertificate(request)
  const signature = sign(createHash('sha256').update(der(toBeSigned)).digest())
  return pem(der(sequence(toBeSigned, ECDSA_WITH_SHA256(), bitString(signature))))
}

/**
 * RFC 5280 §4.1.2
 *
 * @param {CertificateRequest} request
 */
function tbsCertificate(request) {
  const notBefore = new Date(Date.now() - CLOCK_SKEW_MS)
  const notAfter = new Date(Date.now() + request.days * DAY_MS)
  return sequence(
    context(0, integer(Buffer.of(VERSION_3))),
    integer(serialNumber()),
    ECDSA_WITH_SHA256(),
    distinguishedName(request.issuer),
    sequence(time(notBefore), time(notAfter)),
    distinguishedName(request.subject),
    asn1.fromDer(spki(request.publicKey).toString('binary')),
    context(3, sequence(...extensions(request))),
  )
}

/**
 * RFC 5280 §4.2
 *
 * @param {CertificateRequest} request
 */
function extensions({ publicKey, issuerKey, ca, names, addresses }) {
  const identifiers = [
    extension('2.5.29.14', false, octetString(keyIdentifier(publicKey))),
    extension('2.5.29.35', false, sequence(contextPrimitive(0, keyIdentifier(issuerKey)))),
  ]
  if (ca) {
    return [
      extension('2.5.29.19', true, sequence(boolean(true), integer(Buffer.of(0)))),
      extension('2.5.29.15', true, keyUsage(KEY_CERT_SIGN | CRL_SIGN)),
      // Whoever trusts this CA trusts it for this machine's own names and nothing else.
      extension('2.5.29.30', true, sequence(context(0, ...nameConstraints(names, addresses)))),
      ...identifiers,
    ]
  }
  return [
    extension('2.5.29.19', true, sequence()),
    extension('2.5.29.15', true, keyUsage(DIGITAL_SIGNATURE)),
    extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1'))),
    extension('2.5.29.17', false, sequence(...generalNames(names, addresses))),
    ...identifiers,
  ]
}

/**
 * Permitted subtrees, RFC 5280 §4.2.1.10: an address is followed by its mask, here all ones.
 *
 * @param {readonly string[]} names
 * @param {readonly Buffer[]} addresses
 */
function nameConstraints(names, addresses) {
  const masked = addresses.map((bytes) => Buffer.concat([bytes, Buffer.alloc(bytes.length, 0xff)]))
  return generalNames(names, masked).map((name) => sequence(name))
}

/**
 * RFC 5280 §4.2.1.6: dNSName [2], iPAddress [7]
 *
 * @param {readonly string[]} names
 * @param {readonly Buffer[]} addresses
 */
function generalNames(names, addresses) {
  return [
    ...names.map((name) => contextPrimitive(2, Buffer.from(name, 'ascii'))),
    ...addresses.map((address) => contextPrimitive(7, address)),
  ]
}

/** 159 random bits: positive and not zero, RFC 5280 §4.1.2.2. */
function serialNumber() {
  const bytes = randomBytes(20)
  bytes.writeUInt8((bytes.readUInt8(0) & 0x3f) | 0x40, 0)
  return bytes
}

/**
 * RFC 7093 §2, method 4: a hash of the SubjectPublicKeyInfo.
 *
 * @param {import('node:crypto').KeyObject} key
 */
function keyIdentifier(key) {
  return createHash('sha256').update(spki(key)).digest()
}

/** @param {import('node:crypto').KeyObject} key */
function spki(key) {
  return key.export({ type: 'spki', format: 'der' })
}

/** @param {string} commonName */
function distinguishedName(commonName) {
  const attribute = sequence(oid('2.5.4.3'), node(Type.UTF8, Buffer.from(commonName)))
  return sequence(asn1.create(Class.UNIVERSAL, Type.SET, true, [attribute]))
}

/**
 * UTCTime until 2049, as RFC 5280 §4.1.2.5 wants it.
 *
 * @param {Date} date
 */
function time(date) {
  return asn1.create(Class.UNIVERSAL, Type.UTCTIME, false, asn1.dateToUtcTime(date))
}

/**
 * @param {string} id
 * @param {boolean} critical
 * @param {forge.asn1.Asn1} value
 */
function extension(id, critical, value) {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), octetString(der(value)))
}

/**
 * @param {number} bits of the first octet; the unused ones at its end are not encoded (DER)
 */
function keyUsage(bits) {
  const unused = 31 - Math.clz32(bits & -bits)
  return node(Type.BITSTRING, Buffer.of(unused, bits))
}

function ECDSA_WITH_SHA256() {
  return sequence(oid('1.2.840.10045.4.3.2'))
}

/** @param {forge.asn1.Asn1[]} values */
function sequence(...values) {
  return asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, values)
}

/**
 * @param {number} tag
 * @param {forge.asn1.Asn1[]} values
 */
function context(tag, ...values) {
  return asn1.create(Class.CONTEXT_SPECIFIC, tag, true, values)
}

/**
 * @param {number} tag
 * @param {Buffer} bytes
 */
function contextPrimitive(tag, bytes) {
  return asn1.create(Class.CONTEXT_SPECIFIC, tag, false, bytes.toString('binary'))
}

/**
 * @param {forge.asn1.Type} type
 * @param {Buffer} bytes
 */
function node(type, bytes) {
  return asn1.create(Class.UNIVERSAL, type, false, bytes.toString('binary'))
}

/** @param {Buffer} bytes */
const integer = (bytes) => node(Type.INTEGER, bytes)
/** @param {Buffer} bytes */
const octetString = (bytes) => node(Type.OCTETSTRING, bytes)
/** @param {Buffer} bytes */
const bitString = (bytes) => node(Type.BITSTRING, Buffer.concat([Buffer.of(0), bytes]))
/** @param {boolean} value */
const boolean = (value) => node(Type.BOOLEAN, Buffer.of(value ? 0xff : 0))
/** @param {string} id */
const oid = (id) => asn1.create(Class.UNIVERSAL, Type.OID, false, asn1.oidToDer(id).getBytes())

/** @param {forge.asn1.Asn1} value */
function der(value) {
  return Buffer.from(asn1.toDer(value).getBytes(), 'binary')
}

/** @param {Buffer} bytes */
function pem(bytes) {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

const VERSION_3 = 2
const DAY_MS = 24 * 60 * 60 * 1000
/** A browser in a virtual machine may have a clock that is a little behind. */
const CLOCK_SKEW_MS = 60 * 60 * 1000
/** KeyUsage as bits of the first octet, RFC 5280 §4.2.1.3. */
const DIGITAL_SIGNATURE = 0x80
const KEY_CERT_SIGN = 0x04
const CRL_SIGN = 0x02
