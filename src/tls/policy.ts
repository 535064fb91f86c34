/** From a policy of the configuration to what OpenSSL is told. */

import type { NativePolicy } from '../native/addon.ts'
import type { SignatureSchemeName } from '../signing.ts'
import type { TlsPolicyOptions } from './options.ts'

/** A certificate's own settings go before the listener's, one by one. */
export function effectivePolicy(
  listener: TlsPolicyOptions,
  certificate: Partial<TlsPolicyOptions> = {},
): TlsPolicyOptions {
  return { ...listener, ...certificate }
}

/**
 * @param options.canSignTls13 false: no key can, so TLS 1.3 is not offered where there is TLS 1.2.
 * @param options.ticketLifetimeMs where the policy does not say.
 */
export function nativePolicy(
  policy: TlsPolicyOptions,
  options: { readonly canSignTls13: boolean; readonly ticketLifetimeMs: number },
): NativePolicy {
  const { versions } = policy
  const lifetimeMs = policy.ticketLifetimeMs ?? options.ticketLifetimeMs
  const tls12 = versions.includes('TLSv1.2')
  const tls13 = versions.includes('TLSv1.3') && (options.canSignTls13 || !tls12)
  return {
    minVersion: tls12 ? 'TLSv1.2' : 'TLSv1.3',
    maxVersion: tls13 ? 'TLSv1.3' : 'TLSv1.2',
    ciphers: tls12 ? policy.tls12Suites.join(':') : '',
    ciphersuites: policy.tls13Suites.join(':'),
    groups: groupList(policy.groups),
    tickets: policy.tickets,
    ticketLifetimeS: Math.min(Math.floor(lifetimeMs / 1000), MAX_TICKET_LIFETIME_S),
  }
}

/** OpenSSL's names are IANA's; what IANA has not named is called by its parts. */
export function schemeList(names: readonly SignatureSchemeName[]): string {
  return names.map((name) => (name === 'ecdsa_sha224' ? 'ECDSA+SHA224' : name)).join(':')
}

/**
 * A slash after the hybrid groups of OpenSSL 3.5: a client that supports one without having sent a share for it is asked
 * for one (HelloRetryRequest), instead of getting a group that a quantum computer opens later.
 */
function groupList(groups: readonly string[]): string {
  const last = groups.findLastIndex((group) => /MLKEM/i.test(group)) + 1
  return [groups.slice(0, last), groups.slice(last)]
    .filter((some) => some.length > 0)
    .map((some) => some.join(':'))
    .join('/')
}

/** Seven days, RFC 8446 §4.6.1. */
const MAX_TICKET_LIFETIME_S = 7 * 24 * 3600
