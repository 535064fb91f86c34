/** `certificates[].ocsp` → StaplingSource: one source for the response, and somebody who can vouch for it. */

import { X509Certificate } from 'node:crypto'
import type { StaplingSource } from '../stapling/options.ts'
import type { CertificateOptions } from '../tls/options.ts'
import type { Path } from './document.ts'
import { absolutePath, type Context } from './entries.ts'
import { readTextFile } from './files.ts'
import { certificateBlocks, parseCertificate } from './pem.ts'
import type { CertificateOcspEntry, OcspEntry } from './stapling-schema.ts'

/** @param certificate undefined when it has problems of its own: what is left is checked all the same. */
export function resolveStapling(
  options: { path: Path; entry: CertificateOcspEntry; ocsp: OcspEntry | undefined },
  certificate: CertificateOptions | undefined,
  context: Context,
): StaplingSource {
  const { path, entry, ocsp } = options
  const own = typeof entry === 'object' ? entry : {}
  const required = (own.missing ?? ocsp?.missing) === 'refuse'
  const explicit = entry !== undefined
  if (own.file !== undefined && own.responder !== undefined)
    context.report.error([...path, 'responder'], 'excludes file: a response comes from one of them')
  const kind = own.file !== undefined ? 'file' : kindOf(entry, ocsp)
  const file = own.file === undefined ? undefined : absolutePath(context, own.file)
  const { responder } = own
  const issuer =
    certificate === undefined || kind === 'off'
      ? undefined
      : resolveIssuer({ path, file: own.issuer, explicit }, certificate, context)
  return { kind, file, responder, issuer, explicit, required }
}

function kindOf(entry: CertificateOcspEntry, ocsp: OcspEntry | undefined): 'off' | 'fetch' {
  if (entry === undefined) return ocsp?.staple ?? 'off'
  return entry === 'off' ? 'off' : 'fetch'
}

/** The issuer's certificate: what is named, or what follows the leaf. */
function resolveIssuer(
  options: { path: Path; file: string | undefined; explicit: boolean },
  { chain, file: chainFile }: CertificateOptions,
  context: Context,
): Uint8Array | undefined {
  const { path, file, explicit } = options
  const [leaf, next] = chain.map((der) => new X509Certificate(der))
  if (leaf === undefined) return undefined
  if (file !== undefined) {
    const read = readIssuer(absolutePath(context, file), leaf)
    if (!('error' in read)) return read.der
    context.report.error([...path, 'issuer'], read.error, 'ERR_CONFIG_CERTIFICATE')
    return undefined
  }
  if (next !== undefined && hasIssued(next, leaf)) return Uint8Array.from(next.raw)
  const lack = next === undefined ? 'holds the leaf only' : 'does not hold the issuer behind the leaf'
  const message = `no OCSP response can be verified: ${chainFile} ${lack}; add the certificate of the issuer there, or name it in ocsp: { issuer: FILE }`
  if (explicit) context.report.error(path, message, 'ERR_CONFIG_CERTIFICATE')
  else if (namesResponder(leaf)) context.report.warn(path.slice(0, -1), message)
  return undefined
}

function readIssuer(file: string, leaf: X509Certificate): { der: Uint8Array } | { error: string } {
  const read = readTextFile(file, { maxBytes: MAX_FILE_BYTES, encoding: 'latin1' })
  if ('error' in read) return read
  const blocks = certificateBlocks(read.text)
  if (blocks.length === 0)
    return { error: `${file} holds no certificate in PEM (no -----BEGIN CERTIFICATE-----)` }
  for (const block of blocks) {
    const issuer = block === undefined ? undefined : parseCertificate(block)
    if (issuer === undefined)
      return { error: `a certificate in ${file} cannot be read: it is damaged or cut off` }
    if (hasIssued(issuer, leaf)) return { der: Uint8Array.from(issuer.raw) }
  }
  const issued = leaf.issuer.replaceAll('\n', ', ')
  return { error: `${file} does not hold the issuer of the certificate (${issued})` }
}

function hasIssued(issuer: X509Certificate, leaf: X509Certificate): boolean {
  return leaf.checkIssued(issuer) && leaf.verify(issuer.publicKey)
}

function namesResponder(leaf: X509Certificate): boolean {
  return /^OCSP - URI:/m.test(leaf.infoAccess ?? '')
}

// A bundle of issuers is some hundred KiB at most.
const MAX_FILE_BYTES = 1_048_576
