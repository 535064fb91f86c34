/**
 * `tls` of a listener or a certificate → TlsPolicyOptions: named policies, single settings on top, and every word asked
 * of the OpenSSL that will have to know it.
 *
 * OpenSSL is asked through node:tls: the TLS threads use the same one.
 */

import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { SIGNATURE_SCHEMES, type SignatureSchemeName, schemes } from '../signing.ts'
import type { CertificateOptions, TlsPolicyOptions } from '../tls/options.ts'
import type { ResolvedCertificate } from './certificates.ts'
import type { ListenerOptions } from './config.ts'
import type { Path } from './document.ts'
import type { Context, Entry } from './entries.ts'
import { suggestion } from './nearest.ts'
import type { TlsPolicyEntry } from './tls-policy-schema.ts'

/**
 * A listener's own policy, complete.
 *
 * @param path of its `tls`.
 */
export function resolveListenerPolicy(path: Path, entry: TlsPolicyEntry, context: Context): TlsPolicyOptions {
  return {
    ...NAMED[entry.policy ?? 'intermediate'](),
    tickets: 1,
    ticketLifetimeMs: undefined,
    ...resolveSettings(path, entry, context),
  }
}

/** What a certificate changes of a listener's policy: nothing, single settings, or all that a named policy says. */
export function resolveCertificatePolicy(
  path: Path,
  entry: TlsPolicyEntry,
  context: Context,
): Partial<TlsPolicyOptions> {
  return { ...(entry.policy && NAMED[entry.policy]()), ...resolveSettings(path, entry, context) }
}

/** The name is what TLS chooses by, before it looks at certificates: two answers for one name cannot be. */
export function checkSharedNames(
  certificates: readonly Entry<ResolvedCertificate>[],
  { report }: Context,
): void {
  const first = new Map<string, CertificateOptions>()
  for (const { path, value } of certificates) {
    const { certificate } = value
    const other = certificate.names.map((name) => first.get(name)).find((found) => found !== undefined)
    if (other !== undefined && JSON.stringify(other.policy) !== JSON.stringify(certificate.policy)) {
      report.error(
        [...path, 'tls'],
        `differs from that of ${other.file}, which has a name in common: TLS settings are chosen by name, so give both the same`,
      )
    }
    for (const name of certificate.names) if (!first.has(name)) first.set(name, certificate)
  }
}

/** Signature schemes that fit no key would refuse every client. */
export function checkSignable(
  listeners: readonly Entry<ListenerOptions>[],
  certificates: readonly Entry<ResolvedCertificate>[],
  { report }: Context,
): void {
  for (const { path, value } of certificates) {
    const { policy, keyType, file } = value.certificate
    if (policy?.signatureSchemes === undefined || fits(policy.signatureSchemes, keyType)) continue
    report.error(
      [...path, 'tls', 'signature_schemes'],
      `has none for the key of ${file}, which is of type ${keyType}: ${schemesOf(keyType)}`,
    )
  }
  for (const { path, value } of listeners) {
    if (value.protocol === 'redirect' || certificates.length === 0) continue
    const { signatureSchemes } = value.tls.policy
    // A certificate with schemes of its own has been looked at above.
    const served = certificates.some(
      ({ value: { certificate } }) =>
        certificate.policy?.signatureSchemes !== undefined || fits(signatureSchemes, certificate.keyType),
    )
    if (!served)
      report.error([...path, 'tls', 'signature_schemes'], 'has none for the key of any certificate')
  }
}

/**
 * Mozilla's Server Side TLS 5.7. Where this departs from it:
 *
 * - X25519MLKEM768 stands first, as Mozilla's draft 6.0 has it: what is recorded today stays secret tomorrow.
 * - No DHE suites, which draft 6.0 drops as well: slower than ECDHE, and whoever lacks ECDHE lacks TLS 1.2's AEADs.
 * - The order is ours, not the client's; but a client that puts ChaCha20 first (no AES hardware) gets it. AES-128-GCM
 *   is first: for a 128-bit handshake more buys nothing, and SHA-384's key schedule costs.
 */
const NAMED = {
  // Where somebody puts TLS 1.2 back in, nothing below 128 bits comes with it.
  modern: () => ({
    ...intermediate(),
    versions: ['TLSv1.3'] as const,
    signatureSchemes: schemes.filter(({ hash }) => hash !== 'sha224').map(({ name }) => name),
  }),
  intermediate,
} satisfies Record<string, () => Omit<TlsPolicyOptions, 'tickets' | 'ticketLifetimeMs'>>

function intermediate() {
  return {
    versions: ['TLSv1.2', 'TLSv1.3'],
    tls12Suites: [
      'ECDHE-ECDSA-AES128-GCM-SHA256',
      'ECDHE-RSA-AES128-GCM-SHA256',
      'ECDHE-ECDSA-AES256-GCM-SHA384',
      'ECDHE-RSA-AES256-GCM-SHA384',
      'ECDHE-ECDSA-CHACHA20-POLY1305',
      'ECDHE-RSA-CHACHA20-POLY1305',
    ],
    tls13Suites: ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'],
    groups: [
      ...(opensslTakes({ ecdhCurve: 'X25519MLKEM768' }) ? ['X25519MLKEM768'] : []),
      'X25519',
      'P-256',
      'P-384',
    ],
    signatureSchemes: schemes.map(({ name }) => name),
  } as const
}

function resolveSettings(path: Path, entry: TlsPolicyEntry, context: Context): Partial<TlsPolicyOptions> {
  const { versions, tls12_suites, tls13_suites, groups, signature_schemes, tickets, ticket_lifetime } = entry
  const check = (key: string, words: readonly string[], fault: (word: string) => string | undefined) =>
    checkWords([...path, key], words, fault, context)
  check('versions', versions ?? [], () => undefined)
  check('tls12_suites', tls12_suites ?? [], tls12SuiteFault)
  check('tls13_suites', tls13_suites ?? [], tls13SuiteFault)
  check('groups', groups ?? [], groupFault)
  check('signature_schemes', signature_schemes ?? [], schemeFault)
  return {
    ...(versions && { versions }),
    ...(tls12_suites && { tls12Suites: tls12_suites }),
    ...(tls13_suites && { tls13Suites: tls13_suites }),
    ...(groups && { groups }),
    ...(signature_schemes && { signatureSchemes: signature_schemes.filter(isScheme) }),
    ...(tickets !== undefined && { tickets }),
    ...(ticket_lifetime !== undefined && { ticketLifetimeMs: ticket_lifetime }),
  }
}

function checkWords(
  path: Path,
  words: readonly string[],
  fault: (word: string) => string | undefined,
  { report }: Context,
): void {
  for (const [index, word] of words.entries()) {
    const message = words.indexOf(word) < index ? `"${word}" is named twice` : fault(word)
    if (message !== undefined) report.error([...path, index], message)
  }
}

function tls12SuiteFault(word: string): string | undefined {
  // Nothing but names: a list like HIGH:!aNULL would mean something else with every OpenSSL.
  if (word.startsWith('TLS_')) return `"${word}" is a suite of TLS 1.3, or not in OpenSSL's spelling${hint}`
  if (!/^ECDHE-(?:ECDSA|RSA)-[A-Z0-9-]+$/.test(word)) {
    return `"${word}" is no suite with ECDHE and a certificate: without ECDHE the private key would have to decrypt, or there is no forward secrecy${suggestion(word, SUGGESTED.tls12)}`
  }
  if (opensslTakes({ ciphers: word })) return undefined
  return `${unknown('cipher suite', word)}${suggestion(word, SUGGESTED.tls12)}`
}

function tls13SuiteFault(word: string): string | undefined {
  if (/^TLS_[A-Z0-9_]+$/.test(word) && opensslTakes({ ciphers: word, minVersion: 'TLSv1.3' }))
    return undefined
  return `${unknown('cipher suite of TLS 1.3', word)}${suggestion(word, SUGGESTED.tls13)}`
}

function groupFault(word: string): string | undefined {
  if (/^[A-Za-z0-9_-]+$/.test(word) && opensslTakes({ ecdhCurve: word })) return undefined
  const since = /MLKEM/i.test(word) ? '; ML-KEM comes with OpenSSL 3.5, which Node 24 has' : ''
  return `${unknown('group', word)}${since || suggestion(word, SUGGESTED.groups)}`
}

function schemeFault(word: string): string | undefined {
  if (isScheme(word)) return undefined
  const names = schemes.map(({ name }) => name)
  return `"${word}" is no signature scheme that Sealgate knows${suggestion(word, names) || `; there are: ${names.join(', ')}`}`
}

function unknown(what: string, word: string): string {
  return `OpenSSL ${process.versions.openssl} knows no ${what} "${word}"`
}

function opensslTakes(words: SecureContextOptions): boolean {
  try {
    // An empty list of CAs, or Node would parse all the ones it brings.
    createSecureContext({ ca: [], ...words })
    return true
  } catch {
    return false
  }
}

function isScheme(word: string): word is SignatureSchemeName {
  return Object.hasOwn(SIGNATURE_SCHEMES, word)
}

function fits(names: readonly SignatureSchemeName[], keyType: CertificateOptions['keyType']): boolean {
  return names.some((name) => SIGNATURE_SCHEMES[name].keyType === keyType)
}

function schemesOf(keyType: CertificateOptions['keyType']): string {
  return schemes
    .filter((scheme) => scheme.keyType === keyType)
    .map(({ name }) => name)
    .join(', ')
}

const hint = '; write it as OpenSSL does, e.g. ECDHE-RSA-AES128-GCM-SHA256'
const SUGGESTED = {
  tls12: intermediate().tls12Suites,
  tls13: [...intermediate().tls13Suites, 'TLS_AES_128_CCM_SHA256', 'TLS_AES_128_CCM_8_SHA256'],
  groups: ['X25519MLKEM768', 'X25519', 'X448', 'P-256', 'P-384', 'P-521'],
}
