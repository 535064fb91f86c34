/** Keys: found, the certificate's, kept inside the HSM, and able to sign what they claim. */

import { MECHANISMS } from '../../hsm/mechanism.ts'
import { keyFacts } from '../../hsm/public-key.ts'
import { testMessage } from '../../hsm/test-message.ts'
import { isSignature } from '../../hsm/verify-signature.ts'
import { type KeyType, schemeByCodePoint } from '../../signing.ts'
import type { Examination } from '../examine.ts'
import type { FactOf } from '../facts.ts'
import type { Findings } from '../finding.ts'
import { namedFailures } from './ending.ts'
import { percentiles } from './percentiles.ts'

export function keyFindings(examination: Examination, timeoutMs: number, findings: Findings): void {
  for (const { key, code, message } of examination.all('key-problem')) {
    findings.error(
      `key.${KEY_PROBLEMS.get(code) ?? 'unusable'}`,
      message,
      CURES.get(code) ?? `look for ${key} with: pkcs11-tool --login --list-objects`,
    )
  }
  for (const key of examination.all('key')) {
    identityFindings(key, findings)
    protectionFindings(key, findings)
    useFindings(key, findings)
    signatureFindings(examination, key, findings)
    latencyFindings(examination, key, timeoutMs, findings)
  }
  const more = examination.one('more-keys')
  if (more !== undefined) {
    findings.note('key.more', `the token has more private keys; the first ${more.looked} were looked at`)
  }
  if (examination.patient.keys === null && noKeyFound(examination)) {
    findings.warning(
      'key.none',
      'the token shows no private key to this user',
      'generate one (sealgate keys generate), or log in as the user who may see it',
    )
  }
}

/** Key types of the certificates, or of the keys that were found. */
export function keyTypesOf(examination: Examination): ReadonlySet<KeyType> {
  const spkis = [
    ...(examination.patient.keys ?? []).map(({ spki }) => spki),
    ...examination.all('key').flatMap(({ spki }) => spki ?? []),
  ]
  return new Set(spkis.flatMap((spki) => typeOf(spki) ?? []))
}

function identityFindings({ key, idHex, compared }: FactOf<'key'>, findings: Findings): void {
  const name = `key ${key}${idHex === '' ? '' : ` (id ${idHex})`}`
  if (compared === true)
    findings.ok('key.matches', `${name} is the certificate's: the token shows the same public key`)
  else if (compared === null) findings.ok('key.found', `${name} is there`)
  else {
    findings.note(
      'key.not-compared',
      `${name}: the token does not show its public key; only the test signature tells that it is the certificate's`,
    )
  }
}

function protectionFindings(fact: FactOf<'key'>, findings: Findings): void {
  const { key } = fact
  if (fact.extractable === true) {
    findings.error(
      'key.extractable',
      `key ${key} may be taken out of the HSM wrapped (CKA_EXTRACTABLE)`,
      'make another key that is born not extractable (sealgate keys generate), and a certificate for it',
    )
  } else if (fact.sensitive === false) {
    findings.error(
      'key.not-sensitive',
      `key ${key} may be read in the clear (CKA_SENSITIVE is false)`,
      'make another key that is born sensitive (sealgate keys generate), and a certificate for it',
    )
  } else if (fact.neverExtractable === false || fact.alwaysSensitive === false || fact.local === false) {
    findings.note(
      'key.imported',
      `key ${key} was not born as it is now: it came from outside or was readable once (${falseOnes(fact)}); who had it then may have it still`,
      'for a key that provably never was outside, generate a new one in the HSM',
    )
  } else if (fact.sensitive === true && fact.extractable === false) {
    const born = fact.neverExtractable === true && fact.alwaysSensitive === true
    findings.ok(
      'key.protected',
      `key ${key} is sensitive and not extractable${born ? ', and always was' : ''}`,
    )
  } else {
    findings.note(
      'key.protection-unknown',
      `the token does not say whether key ${key} is sensitive and not extractable`,
    )
  }
}

function useFindings(
  { key, sign, decrypt, unwrap, alwaysAuthenticate }: FactOf<'key'>,
  findings: Findings,
): void {
  if (sign === false) {
    findings.error(
      'key.may-not-sign',
      `key ${key} may not sign (CKA_SIGN is false)`,
      'set CKA_SIGN, if the HSM allows it, or generate a key for signing',
    )
  }
  const more = [decrypt === true ? 'decrypt' : '', unwrap === true ? 'unwrap other keys' : ''].filter(
    (use) => use !== '',
  )
  if (more.length > 0) {
    findings.note(
      'key.more-than-sign',
      `key ${key} may also ${more.join(' and ')}, which TLS does not need`,
      'generate keys for signing only (sealgate keys generate)',
    )
  }
  if (alwaysAuthenticate === true) {
    findings.warning(
      'key.always-authenticate',
      `key ${key} wants the PIN for every signature (CKA_ALWAYS_AUTHENTICATE): each handshake costs one more call, and the PIN stays in the host's memory`,
      'for a server generate the key without it',
    )
  }
}

function signatureFindings(examination: Examination, { key, spki }: FactOf<'key'>, findings: Findings): void {
  const wanted = examination.patient.keys?.find(({ uri }) => uri === key)
  const publicKey = wanted?.spki ?? spki
  const verified: string[] = []
  for (const { scheme: codePoint, signature } of examination
    .all('signature')
    .filter((fact) => fact.key === key)) {
    const scheme = schemeByCodePoint(codePoint)
    if (scheme === undefined || publicKey === null) continue
    const message = testMessage(scheme, wanted?.purpose)
    if (
      isSignature(
        keyFacts(Buffer.from(publicKey, 'base64')).publicKey,
        scheme,
        message,
        Buffer.from(signature, 'base64'),
      )
    ) {
      verified.push(scheme.name)
      continue
    }
    findings.error(
      'signature.wrong',
      `key ${key}: its ${scheme.name} signature does not verify with the ${wanted === undefined ? 'public key that the token shows' : "certificate's key"}`,
      scheme.padding === 'pss'
        ? 'the salt may have another length than the hash: use an EC key; or it is another key under this name'
        : 'it is another key under this name, or a fault of the HSM: stop using it',
    )
  }
  if (verified.length > 0)
    findings.ok('signature.verified', `key ${key} signs, verified by OpenSSL: ${verified.join(' ')}`)
  for (const { call, about, name } of namedFailures(examination)) {
    const scheme =
      SIGNING_CALLS.has(call) && about.startsWith(`${key}, `) ? about.slice(key.length + 2) : undefined
    if (scheme === undefined) continue
    const mechanism = Object.entries(MECHANISMS).find(([id]) => id === scheme)?.[1].name
    findings.error(
      'signature.failed',
      `key ${key} does not sign ${scheme}: ${call} returned ${name}`,
      mechanism === undefined
        ? "look at the HSM's own log"
        : `may this key be used with ${mechanism} (CKA_ALLOWED_MECHANISMS, the HSM's policy, FIPS mode)?`,
    )
  }
}

function latencyFindings(
  examination: Examination,
  { key }: FactOf<'key'>,
  timeoutMs: number,
  findings: Findings,
): void {
  const latency = examination.all('latency').find((fact) => fact.key === key)
  if (latency === undefined || latency.milliseconds.length === 0) return
  const { p50, p99 } = percentiles(latency.milliseconds)
  const scheme = schemeByCodePoint(latency.scheme)?.name
  const text = `key ${key}: one ${scheme} signature takes ${format(p50)} (p50), ${format(p99)} (p99) of ${latency.milliseconds.length} one after the other`
  if (p99 > timeoutMs / 2) {
    findings.warning(
      'signature.slow',
      `${text}; the deadline of a signature is ${timeoutMs} ms, its time in the queue included`,
      'find out why it is slow (the network, the load of the HSM, the key type), or raise signing.timeout',
    )
  } else
    findings.ok(
      'signature.latency',
      `${text}: about ${Math.max(1, Math.round(1000 / p50))} a second and session`,
    )
}

function falseOnes({ neverExtractable, alwaysSensitive, local }: FactOf<'key'>): string {
  const flags = {
    CKA_NEVER_EXTRACTABLE: neverExtractable,
    CKA_ALWAYS_SENSITIVE: alwaysSensitive,
    CKA_LOCAL: local,
  }
  return Object.entries(flags)
    .flatMap(([name, value]) => (value === false ? [`${name} is false`] : []))
    .join(', ')
}

function noKeyFound(examination: Examination): boolean {
  const login = examination.one('login')?.outcome
  const looked = login === 'accepted' || login === 'already' || login === 'not-needed'
  return (
    looked &&
    examination.end === undefined &&
    examination.all('key').length === 0 &&
    examination.failure('C_FindObjectsInit') === undefined &&
    examination.failure('C_FindObjects') === undefined
  )
}

function typeOf(spki: string): KeyType | undefined {
  try {
    return keyFacts(Buffer.from(spki, 'base64')).keyType
  } catch {
    return undefined
  }
}

function format(milliseconds: number): string {
  return `${milliseconds < 10 ? milliseconds.toFixed(2) : Math.round(milliseconds)} ms`
}

const KEY_PROBLEMS: ReadonlyMap<string, string> = new Map([
  ['ERR_HSM_KEY_NOT_FOUND', 'not-found'],
  ['ERR_HSM_KEY_MISMATCH', 'not-the-certificates'],
  ['ERR_HSM_MECHANISM', 'no-scheme'],
])
const CURES: ReadonlyMap<string, string> = new Map([
  [
    'ERR_HSM_KEY_NOT_FOUND',
    'correct key.uri (sealgate keys list shows what is there), or log in as the user who may see it',
  ],
  [
    'ERR_HSM_KEY_MISMATCH',
    'name the key that the certificate was made for, or have a certificate made for this key (sealgate keys csr)',
  ],
  ['ERR_HSM_MECHANISM', 'use a key of a type that the token can sign with'],
])
const SIGNING_CALLS: ReadonlySet<string> = new Set(['C_SignInit', 'C_Sign', 'C_OpenSession', 'C_Login'])
