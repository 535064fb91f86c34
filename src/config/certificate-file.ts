/** Reads a PEM certificate chain into what TLS needs, and says what is doubtful about it. */

import type { X509Certificate } from 'node:crypto'
import type { CertificateOptions } from '../tls/options.ts'
import { readTextFile } from './files.ts'
import { certificateBlocks, parseCertificate } from './pem.ts'

export interface ChainProblem {
  readonly level: 'error' | 'warning' | 'secret'
  readonly message: string
}

export interface ChainResult {
  /** undefined when there is an error. */
  readonly certificate: CertificateOptions | undefined
  readonly problems: readonly ChainProblem[]
}

/** @param nowMs wall-clock time, for expiry. Never throws for what the file holds. */
export function readCertificateFile(file: string, nowMs: number = Date.now()): ChainResult {
  const read = readTextFile(file, { maxBytes: MAX_FILE_BYTES, encoding: 'latin1' })
  if ('error' in read) return failure(read.error)
  const { text } = read
  if (PRIVATE_KEY.test(text)) {
    return failure(
      `${file} holds a private key: take it out, and if it is the key of this certificate, replace both; the key belongs into the HSM`,
      'secret',
    )
  }
  if (text.trim() === '') return failure(`${file} is empty`)
  if (text.startsWith('\x30\x82')) {
    return failure(`${file} is DER, not PEM: convert it with openssl x509 -inform der -in FILE -out FILE.pem`)
  }

  const blocks = certificateBlocks(text)
  if (blocks.length === 0) return failure(`${file} holds no certificate (no -----BEGIN CERTIFICATE-----)`)
  const chain: X509Certificate[] = []
  for (const [index, block] of blocks.entries()) {
    const certificate = block === undefined ? undefined : parseCertificate(block)
    if (certificate === undefined)
      return failure(`certificate ${index + 1} in ${file} cannot be read: it is damaged or cut off`)
    chain.push(certificate)
  }
  return describe(file, chain, nowMs)
}

function describe(file: string, chain: readonly X509Certificate[], nowMs: number): ChainResult {
  const [leaf] = chain
  if (leaf === undefined) return failure(`${file} holds no certificate`)
  const keyType = keyTypeOf(leaf)
  if ('error' in keyType) return failure(`${file}: ${keyType.error}`)

  const names = namesOf(leaf)
  const notAfterMs = Date.parse(leaf.validTo)
  const problems = [
    ...orderProblems(file, chain),
    ...nameProblems(file, names),
    ...validityProblems(file, leaf, nowMs),
  ]
  if (problems.some(({ level }) => level === 'error')) return { certificate: undefined, problems }
  return {
    certificate: {
      file,
      chain: chain.map((certificate) => Uint8Array.from(certificate.raw)),
      spki: Uint8Array.from(leaf.publicKey.export({ type: 'spki', format: 'der' })),
      names: names.names,
      keyType: keyType.keyType,
      notAfterMs,
    },
    problems,
  }
}

/** RFC 8446 §4.4.2: the leaf first, and each one SHOULD certify the one before it. */
function orderProblems(file: string, chain: readonly X509Certificate[]): ChainProblem[] {
  const problems: ChainProblem[] = []
  for (const [index, issuer] of chain.entries()) {
    const certificate = chain[index - 1]
    if (certificate === undefined || certificate.issuer === issuer.subject) continue
    const where = `certificate ${index + 1} in ${file} (${subjectText(issuer)}) is not the issuer of certificate ${index} (${subjectText(certificate)}, issued by ${distinguishedName(certificate.issuer)})`
    // Past the first step a second path to another root is legitimate, and clients cope with it.
    problems.push(
      index === 1
        ? { level: 'error', message: `${where}: put the leaf first, then its intermediates in order` }
        : { level: 'warning', message: `${where}: some clients will not find their way to the root` },
    )
  }
  return problems
}

interface Names {
  readonly names: readonly string[]
  readonly source: 'subjectAltName' | 'commonName' | 'none'
}

/** Names of subjectAltName; the common name only where there are none (RFC 6125 §6.4.4, and clients ignore it). */
function namesOf(leaf: X509Certificate): Names {
  const alternatives = [...(leaf.subjectAltName ?? '').matchAll(/(?:^|, )DNS:([^,"]+)/g)]
    .map(([, value = '']) => value.toLowerCase())
    .filter((value) => DNS_NAME.test(value))
  if (alternatives.length > 0) return { names: [...new Set(alternatives)], source: 'subjectAltName' }
  const common = /^CN=(.+)$/m.exec(leaf.subject)?.[1]?.toLowerCase()
  return common !== undefined && DNS_NAME.test(common)
    ? { names: [common], source: 'commonName' }
    : { names: [], source: 'none' }
}

function nameProblems(file: string, { names, source }: Names): ChainProblem[] {
  if (source === 'subjectAltName') return []
  return [
    {
      level: 'warning',
      message:
        source === 'commonName'
          ? `${file} has no DNS name in subjectAltName; its common name "${names[0]}" is used, but browsers ignore it: have it issued again with one`
          : `${file} has no DNS name: it serves only where no certificate has the asked name`,
    },
  ]
}

function validityProblems(file: string, leaf: X509Certificate, nowMs: number): ChainProblem[] {
  const notBefore = Date.parse(leaf.validFrom)
  const notAfter = Date.parse(leaf.validTo)
  if (nowMs > notAfter) {
    return [
      { level: 'warning', message: `${file} expired on ${day(notAfter)}: clients will refuse it; renew it` },
    ]
  }
  if (nowMs < notBefore) {
    return [
      {
        level: 'warning',
        message: `${file} is not valid before ${day(notBefore)}: check the clock of this machine`,
      },
    ]
  }
  const daysLeft = Math.floor((notAfter - nowMs) / DAY_MS)
  return daysLeft < RENEW_DAYS
    ? [{ level: 'warning', message: `${file} expires on ${day(notAfter)}, in ${daysLeft} days: renew it` }]
    : []
}

function keyTypeOf(leaf: X509Certificate): { keyType: CertificateOptions['keyType'] } | { error: string } {
  let key: X509Certificate['publicKey']
  try {
    key = leaf.publicKey
  } catch {
    return { error: 'its public key is of a kind OpenSSL does not know; use RSA, ECDSA or Ed25519' }
  }
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {}
  switch (key.asymmetricKeyType) {
    case 'rsa':
      return modulusLength >= 2_048 && modulusLength <= 4_096
        ? { keyType: 'rsa' }
        : { error: `an RSA key of ${modulusLength} bits is not supported: use 2048 to 4096` }
    case 'ec':
      return CURVES.has(namedCurve)
        ? { keyType: 'ec' }
        : {
            error: `an EC key on ${namedCurve || 'an unnamed curve'} is not supported: use P-256, P-384 or P-521`,
          }
    case 'ed25519':
      return { keyType: 'ed25519' }
    default:
      return { error: `a key of type ${key.asymmetricKeyType} is not supported: use RSA, ECDSA or Ed25519` }
  }
}

function subjectText(certificate: X509Certificate): string {
  return distinguishedName(certificate.subject) || 'no subject'
}

/** Node writes one attribute a line. */
function distinguishedName(name: string | undefined): string {
  return (name ?? '').replaceAll('\n', ', ')
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}

function failure(message: string, level: 'error' | 'secret' = 'error'): ChainResult {
  return { certificate: undefined, problems: [{ level, message }] }
}

// A chain has some KiB.
const MAX_FILE_BYTES = 1_048_576
const DAY_MS = 86_400_000
const RENEW_DAYS = 14
/** OpenSSL's names of the curves TLS signs with. */
const CURVES: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1', 'secp521r1'])
const PRIVATE_KEY = /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/
// Letters, digits and hyphens (RFC 1123 §2.1), underscores as found in the wild; `*` only as the whole first label (RFC 6125 §6.4.3).
const DNS_NAME =
  /^(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/
