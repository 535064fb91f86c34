// @ts-check
/**
 * Certificates of the development CA, whose key is in the token. They are built as those of `sealgate keys` are.
 *
 * To be imported when the program is built (prepare.mjs).
 */

import { createHash } from 'node:crypto'

/** @type {typeof import('../src/keys/x509/to-be-signed.ts')} */
const { certificate, signedStructure } = await built('keys/x509/to-be-signed')
/** @type {typeof import('../src/keys/x509/extensions.ts')} */
const { authorityExtensions, leafExtensions } = await built('keys/x509/extensions')
/** @type {typeof import('../src/keys/x509/alternative-names.ts')} */
const { parseAlternativeName } = await built('keys/x509/alternative-names')
/** @type {typeof import('../src/keys/x509/distinguished-name.ts')} */
const { parseDistinguishedName } = await built('keys/x509/distinguished-name')
/** @type {typeof import('../src/keys/x509/der.ts')} */
const { pem } = await built('keys/x509/der')
/** @type {typeof import('../src/signing.ts')} */
const { schemes } = await built('signing')

/**
 * @typedef {object} CertificateRequest
 * @property {string} subject common name
 * @property {import('node:crypto').KeyObject} publicKey
 * @property {string} issuer common name
 * @property {import('node:crypto').KeyObject} issuerKey public half, EC P-256
 * @property {number} days how long it is valid, from now
 * @property {readonly string[]} names names and IP addresses: a CA may issue for these only; a leaf is for these
 * @property {boolean} ca
 */

/**
 * Builds a certificate and has it signed with ecdsa-with-SHA256.
 *
 * @param {CertificateRequest} request
 * @param {(digest: Buffer) => Buffer} sign SHA-256 digest → DER Ecdsa-Sig-Value, by the issuer's key
 * @returns {string} PEM
 */
export function issueCertificate({ subject, publicKey, issuer, issuerKey, days, names, ca }, sign) {
  const scheme = schemes.find(({ name }) => name === 'ecdsa_secp256r1_sha256')
  if (scheme === undefined) throw new Error('there is no ECDSA with P-256')
  const spki = derOf(publicKey)
  const alternatives = names.map(parseAlternativeName)
  const nowMs = Date.now()
  const toBeSigned = certificate({
    issuer: parseDistinguishedName(`CN=${issuer}`),
    subject: parseDistinguishedName(`CN=${subject}`),
    spki,
    validity: { notBeforeMs: nowMs - CLOCK_SKEW_MS, notAfterMs: nowMs + days * DAY_MS },
    extensions: ca
      ? authorityExtensions(alternatives, spki)
      : leafExtensions({ names: alternatives, spki, issuerSpki: derOf(issuerKey) }),
    scheme,
  })
  const signature = sign(createHash('sha256').update(toBeSigned.der).digest())
  return pem('CERTIFICATE', signedStructure(toBeSigned, signature))
}

/** @param {import('node:crypto').KeyObject} key */
function derOf(key) {
  return key.export({ type: 'spki', format: 'der' })
}

/** @param {string} file of the built program, without its ending */
function built(file) {
  return import(new URL(`../dist/${file}.js`, import.meta.url).href)
}

const DAY_MS = 24 * 60 * 60 * 1000
/** A browser in a virtual machine may have a clock that is a little behind. */
const CLOCK_SKEW_MS = 60 * 60 * 1000
