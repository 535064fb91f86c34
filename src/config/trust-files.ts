/**
 * Reads PEM files of certificate authorities and of revocation lists into DER, and says what is wrong with them.
 *
 * Used when the configuration is loaded and whenever such a file changes. Signatures are OpenSSL's to check.
 */

import { X509Certificate } from 'node:crypto'
import type { ClientTrust, TrustFiles } from '../tls/options.ts'
import { readTextFile } from './files.ts'
import { endsInsideBegin } from './pem.ts'
import { readRevocationListDates } from './revocation-list.ts'

export interface TrustProblem {
  readonly level: 'error' | 'warning'
  readonly file: string
  /** Names the file, the line in it where there is one, and the cure. */
  readonly message: string
}

/** @param nowMs wall-clock time, for expiry. Never throws for what the files hold. */
export function readTrustFiles(
  files: TrustFiles,
  nowMs: number = Date.now(),
): { readonly trust: ClientTrust; readonly problems: readonly TrustProblem[] } {
  const problems: TrustProblem[] = []
  const read = (file: string, kind: Kind): Uint8Array[] => {
    const blocks = pemBlocks(file, kind)
    if (typeof blocks === 'string') {
      problems.push({ level: 'error', file, message: blocks })
      return []
    }
    return blocks.flatMap(({ der, line }, index) => {
      const problem = kind.problem(der, nowMs)
      if (problem !== undefined) {
        const message = `${kind.word} ${index + 1} in ${file} (line ${line}) ${problem.text}`
        problems.push({ level: problem.level, file, message })
      }
      return problem?.level === 'error' ? [] : [der]
    })
  }
  const trust = {
    authorities: files.authorities.flatMap((file) => read(file, AUTHORITY)),
    revocationLists: files.revocationLists.flatMap((file) => read(file, REVOCATION_LIST)),
  }
  return { trust, problems }
}

interface Kind {
  readonly word: string
  readonly label: string
  readonly maxBytes: number
  readonly toPem: string
  problem(der: Uint8Array, nowMs: number): { level: TrustProblem['level']; text: string } | undefined
}

const AUTHORITY: Kind = {
  word: 'certificate',
  label: 'CERTIFICATE',
  // Hundreds of authorities; the public ones of all browsers together have a quarter of a MiB.
  maxBytes: 4_194_304,
  toPem: 'openssl x509 -inform der -in FILE -out FILE.pem',
  problem: authorityProblem,
}

const REVOCATION_LIST: Kind = {
  word: 'revocation list',
  label: 'X509 CRL',
  // Some hundred thousand revoked certificates.
  maxBytes: 33_554_432,
  toPem: 'openssl crl -inform der -in FILE -out FILE.pem',
  problem: revocationListProblem,
}

/** @returns the blocks with the lines on which they begin, or what is wrong with the file. */
function pemBlocks(file: string, kind: Kind): { der: Buffer; line: number }[] | string {
  const read = readTextFile(file, { maxBytes: kind.maxBytes, encoding: 'latin1' })
  if ('error' in read) return read.error
  const { text } = read
  if (text.trim() === '') return `${file} is empty`
  if (PRIVATE_KEY.test(text)) return `${file} holds a private key, which does not belong here: take it out`
  if (text.startsWith('\x30')) return `${file} is DER, not PEM: convert it with ${kind.toPem}`
  const blocks: { der: Buffer; line: number }[] = []
  let line = 1
  let from = 0
  for (const match of text.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----/g)) {
    line += text.slice(from, match.index).split('\n').length - 1
    from = match.index
    const [begin, label = ''] = match
    if (label !== kind.label)
      return `${file}, line ${line}, holds a ${label}, not a ${kind.label}: take it out`
    const end = text.indexOf(`-----END ${label}-----`, from)
    const base64 = text.slice(from + begin.length, end < 0 ? undefined : end).replaceAll(/\s/g, '')
    if (end < 0 || !BASE64.test(base64)) {
      return `${kind.word} ${blocks.length + 1} in ${file} (line ${line}) cannot be read: it is damaged or cut off`
    }
    blocks.push({ der: Buffer.from(base64, 'base64'), line })
  }
  if (endsInsideBegin(text)) return `${file} cannot be read: its end is damaged or cut off`
  return blocks.length > 0 ? blocks : `${file} holds no ${kind.word} (no -----BEGIN ${kind.label}-----)`
}

function authorityProblem(der: Uint8Array, nowMs: number): ReturnType<Kind['problem']> {
  let certificate: X509Certificate
  try {
    certificate = new X509Certificate(der)
  } catch {
    return DAMAGED
  }
  const subject = certificate.subject.replaceAll('\n', ', ')
  if (!certificate.ca) {
    return error(
      `(${subject}) is no CA (basicConstraints): name the CA that issued it, and let single clients in with allow`,
    )
  }
  const notAfterMs = Date.parse(certificate.validTo)
  if (nowMs <= notAfterMs) return undefined
  const text = `(${subject}) expired on ${day(notAfterMs)}: its clients are refused; replace it or take it out`
  return { level: 'warning', text }
}

function revocationListProblem(der: Uint8Array, nowMs: number): ReturnType<Kind['problem']> {
  const dates = readRevocationListDates(der)
  if (dates === undefined) return DAMAGED
  const { thisUpdateMs, nextUpdateMs } = dates
  if (thisUpdateMs > nowMs) {
    return error(
      `is not valid before ${new Date(thisUpdateMs).toISOString()}: check the clock of this machine`,
    )
  }
  if (nextUpdateMs === undefined || nextUpdateMs > nowMs) return undefined
  return error(
    `has expired (its next update was due on ${new Date(nextUpdateMs).toISOString()}): every client of its issuer would be refused; fetch the current list`,
  )
}

function error(text: string): { level: 'error'; text: string } {
  return { level: 'error', text }
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}

const DAMAGED = error('cannot be read: it is damaged or cut off')
const PRIVATE_KEY = /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/
