/** What the operator should know about TLS before the first client does: at the start, and from `check`. */

import { offeredSchemes, type Signable, type TlsListener } from './endpoints.ts'
import type { TlsPolicyOptions } from './options.ts'
import { effectivePolicy } from './policy.ts'

export interface TlsFinding {
  readonly level: 'ok' | 'warning' | 'error'
  /** A listener's name or a certificate's file. */
  readonly subject: string
  readonly message: string
}

/** For each listener what is in force there, and for each certificate what it cannot do there. */
export function tlsFindings(
  listeners: readonly TlsListener[],
  certificates: readonly Signable[],
): TlsFinding[] {
  return listeners.flatMap((listener): TlsFinding[] => [
    { level: 'ok', subject: listener.name, message: policyText(listener.tls.policy) },
    ...certificates.flatMap((each) => certificateFinding(listener, each) ?? []),
  ])
}

/** Versions and groups: what depends on the OpenSSL that Node brings. */
function policyText({ versions, groups }: TlsPolicyOptions): string {
  return `${versions.join(' ')}; groups ${groups.join(' ')}`
}

function certificateFinding(
  listener: TlsListener,
  { certificate, schemes }: Signable,
): TlsFinding | undefined {
  const policy = effectivePolicy(listener.tls.policy, certificate.policy)
  const offered = offeredSchemes(policy.signatureSchemes, schemes)
  const subject = certificate.file
  const where = `on ${listener.name}`
  if (offered.length === 0) {
    const able = schemes.map(({ name }) => name).join(' ')
    return {
      level: 'error',
      subject,
      message: `not served ${where}: its signature_schemes are none of those that the HSMs can do with the key (${able || 'none'})`,
    }
  }
  if (!policy.versions.includes('TLSv1.3') || offered.some(({ tls13 }) => tls13)) return undefined
  const why =
    certificate.keyType === 'rsa' ? 'no RSA-PSS for this key' : 'no signature scheme of TLS 1.3 for this key'
  return policy.versions.includes('TLSv1.2')
    ? { level: 'warning', subject, message: `TLS 1.2 only ${where}: ${why}` }
    : { level: 'error', subject, message: `not served ${where}: ${why}, and TLS 1.2 is not allowed there` }
}
