// @ts-check
/** The keys of the development token and the certificates that the development CA issues for them. */

import { X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { issueCertificate } from './certificates.mjs'
import { withToken } from './token.mjs'

/** @typedef {import('./token.mjs').OpenToken} OpenToken */

/** @type {readonly import('./token.mjs').KeyRequest[]} */
export const KEYS = [
  { label: 'localhost-ec', id: 0x01, type: 'ec' },
  { label: 'localhost-rsa', id: 0x02, type: 'rsa' },
  { label: 'sealgate-audit', id: 0x03, type: 'ec' },
  { label: 'sealgate-tickets', id: 0x04, type: 'aes' },
  { label: 'development-ca', id: 0x10, type: 'ec' },
]

/**
 * Issues the certificates that are missing, end soon, or are not for the keys in the token.
 *
 * @param {object} options
 * @param {string} options.module
 * @param {string} options.conf
 * @param {string} options.pin
 * @param {string} options.certs folder
 * @param {boolean} [options.renew] issue the leaves again even when they are good
 * @returns {string} a few words on what was done
 */
export function issueMissingCertificates({ module, conf, pin, certs, renew = false }) {
  mkdirSync(certs, { recursive: true })
  return withToken({ module, conf, pin }, (token) => {
    // A token from an earlier checkout may have fewer.
    for (const key of KEYS) token.generateUnlessThere(key)
    writePublicKey(join(certs, 'audit.pub.pem'), token.publicKey('sealgate-audit'))
    const issuerKey = token.publicKey(CA_KEY)
    /** @param {Omit<import('./certificates.mjs').CertificateRequest, 'issuer' | 'issuerKey'>} request */
    const issue = (request) =>
      issueCertificate({ ...request, issuer: CA_NAME, issuerKey }, (digest) =>
        token.signEcdsa(CA_KEY, digest),
      )

    const ca = {
      subject: CA_NAME,
      publicKey: issuerKey,
      days: CA_DAYS,
      names: ['localhost', ...ADDRESSES],
      ca: true,
    }
    const wanted = [
      { file: 'ca.pem', request: ca },
      ...LEAVES.map(({ file, key }) => ({
        file,
        request: {
          subject: 'localhost',
          publicKey: token.publicKey(key),
          days: LEAF_DAYS,
          names: ['localhost', '*.localhost', ...ADDRESSES],
          ca: false,
        },
      })),
    ]
    const issued = wanted.filter(({ file, request }) => {
      const path = join(certs, file)
      const good = isGood(path, request.publicKey, issuerKey)
      if (good && !(renew && !request.ca)) return false
      writeWhole(path, issue(request))
      return true
    })
    return issued.length === 0 ? 'still valid' : `issued ${issued.map(({ file }) => file).join(', ')}`
  })
}

/**
 * @param {string} path
 * @param {import('node:crypto').KeyObject} publicKey
 * @param {import('node:crypto').KeyObject} issuerKey
 */
function isGood(path, publicKey, issuerKey) {
  if (!existsSync(path)) return false
  try {
    const certificate = new X509Certificate(readFileSync(path))
    const endsSoon = Date.parse(certificate.validTo) < Date.now() + RENEW_BEFORE_MS
    return !endsSoon && certificate.publicKey.equals(publicKey) && certificate.verify(issuerKey)
  } catch {
    return false // not a certificate, e.g. cut short by a full disk
  }
}

/**
 * Of the key that signs the checkpoints of the audit log; it has no certificate.
 *
 * @param {string} path
 * @param {import('node:crypto').KeyObject} publicKey
 */
function writePublicKey(path, publicKey) {
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  if (!existsSync(path) || readFileSync(path, 'utf8') !== pem) writeWhole(path, pem)
}

/**
 * A reader sees the old file or the new one, never a part of it.
 *
 * @param {string} path
 * @param {string} content
 */
function writeWhole(path, content) {
  const building = `${path}.building-${process.pid}`
  writeFileSync(building, content)
  renameSync(building, path)
}

const CA_KEY = 'development-ca'
const CA_NAME = 'Sealgate development CA'
const CA_DAYS = 3650
const LEAF_DAYS = 365
const RENEW_BEFORE_MS = 7 * 24 * 60 * 60 * 1000
const ADDRESSES = ['127.0.0.1', '::1']
const LEAVES = [
  { file: 'localhost.ecdsa.pem', key: 'localhost-ec' },
  { file: 'localhost.rsa.pem', key: 'localhost-rsa' },
]
