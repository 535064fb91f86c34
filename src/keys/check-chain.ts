/** Whether a certificate that has arrived is the one that was waited for. */

import { type KeyObject, X509Certificate } from 'node:crypto'

import { readCertificateFile } from '../config/certificate-file.ts'
import { SealgateError } from '../errors.ts'
import type { CertificateOptions } from '../tls/options.ts'
import { pem } from './x509/der.ts'

export interface CheckedChain {
  readonly certificate: CertificateOptions
  /** Leaf first; nothing but the certificates. */
  readonly pem: string
  readonly warnings: readonly string[]
}

export interface ChainExpectation {
  /** Base64 of DER SubjectPublicKeyInfo; the key that it must be for. */
  readonly spki: string
  /** As people call that key. */
  readonly keyName: string
  /** Names that clients ask for now; each must still be there, or a wildcard for it. */
  readonly names: readonly string[]
}

/**
 * Format, order, signatures within the chain, validity, key, names.
 *
 * @throws {SealgateError} `ERR_KEYS_CERTIFICATE`, `ERR_KEYS_FILE`.
 */
export function checkChain(file: string, expected: ChainExpectation): CheckedChain {
  const { certificate, problems } = readCertificateFile(file)
  const warnings = problems.filter(({ level }) => level === 'warning').map(({ message }) => message)
  if (certificate === undefined) {
    throw fault(
      problems
        .filter(({ level }) => level !== 'warning')
        .map(({ message }) => message)
        .join('; '),
    )
  }
  const chain = certificate.chain.map((der) => new X509Certificate(der))
  warnings.push(...checkLinks(file, chain))
  refuseOutOfDate(file, chain)
  if (!Buffer.from(expected.spki, 'base64').equals(certificate.spki)) {
    throw fault(
      `${file} is for another key than ${expected.keyName}: it was issued for another request; send the CA the request that \`sealgate keys csr\` makes for this key`,
    )
  }
  const names = new Set(certificate.names)
  // A wildcard stands for one label, the first (RFC 9525 §6.3).
  const missing = expected.names.filter((name) => !names.has(name) && !names.has(name.replace(/^[^.]+/, '*')))
  if (missing.length > 0) {
    throw fault(
      `${file} has not the name${missing.length > 1 ? 's' : ''} ${missing.join(', ')} that the certificate in use has: clients that ask for ${missing.length > 1 ? 'them' : 'it'} would be turned away; have it issued with all names, or say --fewer-names`,
    )
  }
  return { certificate, pem: certificate.chain.map((der) => pem('CERTIFICATE', der)).join(''), warnings }
}

/** Names may fit where signatures do not: two CAs of one name, an intermediate that was issued anew. @returns warnings. */
function checkLinks(file: string, chain: readonly X509Certificate[]): string[] {
  const warnings: string[] = []
  for (const [index, certificate] of chain.entries()) {
    const issuer = chain[index + 1]
    if (issuer === undefined || certificate.issuer !== issuer.subject) continue
    const key = publicKeyOf(issuer)
    if (key === undefined)
      warnings.push(
        `certificate ${index + 2} in ${file} has a public key of a kind OpenSSL does not know: whether it has signed certificate ${index + 1} was not looked at`,
      )
    else if (!certificate.verify(key))
      throw fault(
        `certificate ${index + 1} in ${file} is not signed by certificate ${index + 2}, although that has its issuer's name: ask the CA for the right intermediate`,
      )
  }
  return warnings
}

function publicKeyOf(certificate: X509Certificate): KeyObject | undefined {
  try {
    return certificate.publicKey
  } catch {
    return undefined
  }
}

function refuseOutOfDate(file: string, chain: readonly X509Certificate[]): void {
  for (const [index, { validFrom, validTo }] of chain.entries()) {
    const which = index === 0 ? file : `certificate ${index + 1} in ${file}`
    if (Date.parse(validTo) < Date.now())
      throw fault(`${which} expired on ${day(validTo)}: clients would refuse it; have it issued anew`)
    if (Date.parse(validFrom) > Date.now()) {
      throw fault(`${which} is not valid before ${day(validFrom)}: wait, or set the clock of this machine`)
    }
  }
}

function day(date: string): string {
  return new Date(date).toISOString().slice(0, 10)
}

function fault(message: string): SealgateError {
  return new SealgateError('ERR_KEYS_CERTIFICATE', message)
}
