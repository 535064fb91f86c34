/**
 * What each listener serves: the credentials of every name under the listener's policy, with the certificates' own
 * settings on top.
 *
 * A client chooses its certificate by server name before anything is agreed on, so versions, suites, groups and tickets
 * are those of the name. Only what the keys can do is offered.
 */

import type { NativeCredentials, NativeEndpoint, NativeOffer } from '../native/addon.ts'
import { SIGNATURE_SCHEMES, type SignatureScheme, type SignatureSchemeName } from '../signing.ts'
import type { CertificateOptions, ListenerTlsOptions, TlsPolicyOptions } from './options.ts'
import { effectivePolicy, nativePolicy, schemeList } from './policy.ts'

export interface TlsListener {
  readonly id: number
  /** For messages. */
  readonly name: string
  readonly tls: ListenerTlsOptions
}

/** A certificate, and what its key can sign with now. */
export interface Signable {
  readonly certificate: CertificateOptions
  readonly schemes: readonly SignatureScheme[]
}

/**
 * @param groups which certificates serve which names; a key id is an index of `certificates`.
 * @param ticketLifetimeMs where no policy says.
 * @returns one endpoint for all listeners that serve the same in the same way.
 */
export function nativeEndpoints(
  listeners: readonly TlsListener[],
  groups: readonly NativeCredentials[],
  certificates: readonly Signable[],
  ticketLifetimeMs: number,
): NativeEndpoint[] {
  const alike = new Map<string, { tls: ListenerTlsOptions; ids: number[] }>()
  for (const { id, tls } of listeners) {
    const key = JSON.stringify(tls)
    const same = alike.get(key)
    if (same === undefined) alike.set(key, { tls, ids: [id] })
    else same.ids.push(id)
  }
  return [...alike.values()].map(({ tls, ids }) => ({
    listenerIds: ids,
    refuseUnknownNames: tls.unknownServerName === 'refuse',
    credentials: groups.map((group) => nativeOffer(tls, group, certificates, ticketLifetimeMs)),
  }))
}

function nativeOffer(
  tls: ListenerTlsOptions,
  group: NativeCredentials,
  certificates: readonly Signable[],
  ticketLifetimeMs: number,
): NativeOffer {
  const members = group.certificates.flatMap(({ keyId }) => certificates[keyId] ?? [])
  // All certificates of one name have the same settings: config/ sees to it.
  const policy = effectivePolicy(tls.policy, members[0]?.certificate.policy)
  const offered = members.map((member) => offeredSchemes(policy.signatureSchemes, member.schemes))
  const tls13 = offered.map((ofOne) => ofOne.filter((scheme) => scheme.tls13))
  const all = offered.flat()
  // OpenSSL wants a list. With nothing in common it gets what the keys cannot do, and handshakes fail as they must.
  const own = policy.signatureSchemes.filter(
    (name) => all.length === 0 || all.some((scheme) => scheme.name === name),
  )
  return {
    ...group,
    signatureSchemes: schemeList([...new Set([...own, ...tls12Schemes(policy, all)])]),
    policy: nativePolicy(policy, { canSignTls13: tls13.flat().length > 0, ticketLifetimeMs }),
    // To be looked at only where one key can do what another cannot.
    tls13Schemes:
      policy.versions.length > 1 && tls13.some((ofOne) => ofOne.length === 0)
        ? tls13.flat().map(({ codePoint }) => codePoint)
        : [],
  }
}

/**
 * In TLS 1.2 an EC key signs with any hash: no curve is tied to one (RFC 8446 §4.2.3), and some clients have only the larger
 * ones. They come last, since the key's own is as strong as its curve. In TLS 1.3 OpenSSL passes them over.
 */
function tls12Schemes(
  { versions, signatureSchemes }: TlsPolicyOptions,
  offered: readonly SignatureScheme[],
): readonly SignatureSchemeName[] {
  if (!versions.includes('TLSv1.2') || !offered.some(({ keyType }) => keyType === 'ec')) return []
  return signatureSchemes.filter((name) => SIGNATURE_SCHEMES[name].keyType === 'ec')
}

/** In the order of the policy. */
export function offeredSchemes(
  allowed: readonly SignatureSchemeName[],
  able: readonly SignatureScheme[],
): SignatureScheme[] {
  return allowed.flatMap((name) => {
    const scheme = able.find((each) => each.name === name)
    return scheme === undefined ? [] : [scheme]
  })
}
