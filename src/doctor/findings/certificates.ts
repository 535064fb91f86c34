/** Certificates as clients will see them: dates of the whole chain, its signatures, and where it leads. */

import { X509Certificate } from 'node:crypto'
import { rootCertificates } from 'node:tls'

import type { CertificateOptions } from '../../tls/options.ts'
import type { Findings } from '../finding.ts'

export function certificateFindings(
  { chain: ders, names, keyType }: CertificateOptions,
  nowMs: number,
  findings: Findings,
): void {
  const chain = ders.map((der) => new X509Certificate(Buffer.from(der)))
  const [leaf] = chain
  if (leaf === undefined) return
  findings.ok(
    'certificate.read',
    `${names.join(', ') || 'no name'}: ${keyType}, ${chain.length} in the chain`,
  )
  for (const [index, certificate] of chain.entries()) {
    dateFindings(certificate, index === 0 ? 'the certificate' : `intermediate ${index}`, nowMs, findings)
    if (isSha1Signed(certificate) && !isSelfIssued(certificate)) {
      findings.error(
        'certificate.sha1',
        `${subjectText(certificate)} is signed with SHA-1, which clients refuse`,
        'have it issued again',
      )
    }
  }
  linkFindings(chain, findings)
  rootFindings(chain, findings)
}

function dateFindings(certificate: X509Certificate, what: string, nowMs: number, findings: Findings): void {
  const [from, to] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)]
  const days = Math.floor((to - nowMs) / DAY_MS)
  if (nowMs > to) {
    findings.error(
      'certificate.expired',
      `${what} expired on ${day(to)}: clients refuse it`,
      'renew it (sealgate keys csr makes the request)',
    )
  } else if (nowMs < from) {
    findings.error(
      'certificate.not-yet-valid',
      `${what} is not valid before ${day(from)}, and this machine says it is ${day(nowMs)}`,
      'set the clock of this machine (timedatectl), or wait',
    )
  } else if (days < SOON_DAYS) {
    findings.warning(
      'certificate.expires-soon',
      `${what} expires on ${day(to)}, in ${days} days`,
      'renew it now',
    )
  } else if (what === 'the certificate') {
    findings.ok('certificate.valid', `valid until ${day(to)}, ${days} days`)
  }
}

/** Each one must have signed the one before it, not only bear the right name. */
function linkFindings(chain: readonly X509Certificate[], findings: Findings): void {
  for (const [index, issuer] of chain.entries()) {
    const certificate = chain[index - 1]
    if (certificate === undefined || isSignedBy(certificate, issuer)) continue
    findings.error(
      'certificate.broken-chain',
      `certificate ${index} (${subjectText(certificate)}) is not signed by certificate ${index + 1} (${subjectText(issuer)})`,
      'take the chain from the CA again, leaf first',
    )
  }
}

function rootFindings(chain: readonly X509Certificate[], findings: Findings): void {
  const last = chain.at(-1)
  if (last === undefined) return
  if (chain.length === 1 && isSelfIssued(last)) {
    findings.note(
      'certificate.self-signed',
      'the certificate is self-signed: clients trust it only where it is installed',
    )
    return
  }
  if (chain.length > 1 && isSelfIssued(last)) {
    findings.note(
      'certificate.root-in-chain',
      'the chain ends with its root, which clients do not need',
      'leave the root out: it makes every handshake longer',
    )
  }
  const trusted = publicRoots().some(
    (root) => root.fingerprint256 === last.fingerprint256 || isSignedBy(last, root),
  )
  if (trusted)
    findings.ok('certificate.public-root', `the chain leads to a public root (${issuerText(last)})`)
  else {
    findings.note(
      'certificate.private-root',
      `the chain ends below "${issuerText(last)}", which is no public root that Node knows`,
      'right for a private CA; else an intermediate is missing: append it to the file',
    )
  }
}

function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
  } catch {
    return false // a key that OpenSSL does not know
  }
}

function isSelfIssued(certificate: X509Certificate): boolean {
  return certificate.subject === certificate.issuer
}

/** Object identifiers of sha1WithRSAEncryption and ecdsa-with-SHA1, which stand nowhere else in a certificate. */
function isSha1Signed(certificate: X509Certificate): boolean {
  return SHA1_SIGNATURES.some((identifier) => certificate.raw.includes(identifier))
}

let parsedRoots: readonly X509Certificate[] | undefined

function publicRoots(): readonly X509Certificate[] {
  parsedRoots ??= rootCertificates.map((pem) => new X509Certificate(pem))
  return parsedRoots
}

function subjectText(certificate: X509Certificate): string {
  return (certificate.subject ?? 'no subject').replaceAll('\n', ', ')
}

function issuerText(certificate: X509Certificate): string {
  return /^CN=(.+)$/m.exec(certificate.issuer)?.[1] ?? certificate.issuer.replaceAll('\n', ', ')
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}

const DAY_MS = 86_400_000
const SOON_DAYS = 14
const SHA1_SIGNATURES = [
  Buffer.from('06092a864886f70d010105', 'hex'),
  Buffer.from('06072a8648ce3d0401', 'hex'),
]
