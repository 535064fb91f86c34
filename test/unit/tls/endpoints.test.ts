/** What each listener offers for which name, and what the operator is told of it. */

import { expect, test } from 'vitest'
import type { NativeEndpoint, NativeOffer } from '../../../src/native/addon.ts'
import { SIGNATURE_SCHEMES, type SignatureSchemeName, schemes } from '../../../src/signing.ts'
import { nativeEndpoints, type Signable, type TlsListener } from '../../../src/tls/endpoints.ts'
import { tlsFindings } from '../../../src/tls/findings.ts'
import type { CertificateOptions, TlsPolicyOptions } from '../../../src/tls/options.ts'

const POLICY: TlsPolicyOptions = {
  versions: ['TLSv1.2', 'TLSv1.3'],
  tls12Suites: ['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-RSA-AES128-GCM-SHA256'],
  tls13Suites: ['TLS_AES_128_GCM_SHA256'],
  groups: ['X25519', 'P-256'],
  signatureSchemes: schemes.map(({ name }) => name),
  tickets: 1,
  ticketLifetimeMs: undefined,
}
const PKCS1: SignatureSchemeName[] = ['rsa_pkcs1_sha256', 'rsa_pkcs1_sha384']

test('a certificate changes single settings of its listener’s policy', () => {
  const policy = { groups: ['P-384'], ticketLifetimeMs: 90_500 }
  const [offer] = offers({ certificates: [certificate('ec', ['ecdsa_secp256r1_sha256'], policy)] })

  expect(offer?.policy).toEqual({
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256',
    ciphersuites: 'TLS_AES_128_GCM_SHA256',
    groups: 'P-384',
    tickets: 1,
    ticketLifetimeS: 90,
  })
})

test('a ticket lives no longer than seven days', () => {
  const eightDays = 8 * 86_400_000
  const [offer] = offers({ certificates: [certificate('ec')], ticketLifetimeMs: eightDays })

  expect(offer?.policy.ticketLifetimeS).toBe(604_800)
})

test.each([
  [['X25519MLKEM768', 'X25519', 'P-256'], 'X25519MLKEM768/X25519:P-256'],
  [['X25519MLKEM768', 'SecP256r1MLKEM768', 'X25519'], 'X25519MLKEM768:SecP256r1MLKEM768/X25519'],
  [['X25519MLKEM768'], 'X25519MLKEM768'],
  [['X25519', 'P-256'], 'X25519:P-256'],
])('a client that can do a post-quantum group is asked for it before others: %s', (groups, expected) => {
  const [offer] = offers({ certificates: [certificate('ec', undefined, { groups })] })

  expect(offer?.policy.groups).toBe(expected)
})

test('listeners that serve the same in the same way share an endpoint', () => {
  const listeners = [
    listener(0, POLICY),
    listener(1, { ...POLICY, tickets: 0 }),
    listener(2, POLICY),
    listener(3, POLICY, 'refuse'),
  ]

  const endpoints = endpointsOf({ listeners, certificates: [certificate('ec')] })

  expect(endpoints.map(({ listenerIds }) => listenerIds)).toEqual([[0, 2], [1], [3]])
  expect(endpoints.map(({ refuseUnknownNames }) => refuseUnknownNames)).toEqual([false, false, true])
})

test('only what the keys can do and the policy allows is offered, in the order of the policy', () => {
  const policy = {
    ...POLICY,
    signatureSchemes: ['rsa_pss_rsae_sha256', 'ecdsa_secp256r1_sha256'],
  } satisfies TlsPolicyOptions
  const certificates = [certificate('ec', ['ecdsa_secp256r1_sha256']), certificate('rsa')]
  const [offer] = offers({ listeners: [listener(0, policy)], certificates })

  expect(offer?.signatureSchemes).toBe('rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256')
  expect(offer?.tls13Schemes).toEqual([]) // every key can do TLS 1.3: no client needs a look
})

test('an EC key is offered with other hashes and, last, with SHA-224 where there is TLS 1.2', () => {
  const ec = certificate('ec', ['ecdsa_secp384r1_sha384'])
  const rsa = certificate('rsa', ['rsa_pss_rsae_sha256'])
  const modern = listener(1, { ...POLICY, versions: ['TLSv1.3'] })

  const [withEc] = offers({ certificates: [ec, rsa] })
  const [withRsa] = offers({ certificates: [rsa] })
  const [withoutTls12] = offers({ listeners: [modern], certificates: [ec] })

  expect(withEc?.signatureSchemes).toBe(
    'ecdsa_secp384r1_sha384:rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256:ecdsa_secp521r1_sha512:ECDSA+SHA224',
  )
  expect(withRsa?.signatureSchemes).toBe('rsa_pss_rsae_sha256')
  expect(withoutTls12?.signatureSchemes).toBe('ecdsa_secp384r1_sha384')
})

test('an RSA key without PSS alone is offered TLS 1.2 only', () => {
  const certificates = [certificate('rsa', PKCS1)]
  const [offer] = offers({ certificates })

  expect(offer?.policy).toMatchObject({ minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' })
  expect(offer?.signatureSchemes).toBe('rsa_pkcs1_sha256:rsa_pkcs1_sha384')
  expect(tlsFindings([listener(0, POLICY)], certificates)).toEqual([
    { level: 'ok', subject: 'listener 0', message: 'TLSv1.2 TLSv1.3; groups X25519 P-256' },
    { level: 'warning', subject: 'rsa.pem', message: 'TLS 1.2 only on listener 0: no RSA-PSS for this key' },
  ])
})

test('beside an ECDSA key TLS 1.3 stays, for clients that can verify ECDSA', () => {
  const certificates = [certificate('ec', ['ecdsa_secp256r1_sha256']), certificate('rsa', PKCS1)]
  const [offer] = offers({ certificates })

  expect(offer?.policy.maxVersion).toBe('TLSv1.3')
  expect(offer?.tls13Schemes).toEqual([0x0403])
})

test('a key that can do nothing a listener allows is an error, and refuses its clients', () => {
  const modern = listener(0, { ...POLICY, versions: ['TLSv1.3'] })
  const ecdsaOnly = listener(1, { ...POLICY, signatureSchemes: ['ecdsa_secp256r1_sha256'] })
  const certificates = [certificate('rsa', PKCS1)]

  expect(
    tlsFindings([modern, ecdsaOnly], certificates)
      .filter(({ level }) => level === 'error')
      .map(({ message }) => message),
  ).toEqual([
    'not served on listener 0: no RSA-PSS for this key, and TLS 1.2 is not allowed there',
    'not served on listener 1: its signature_schemes are none of those that the HSMs can do with the key (rsa_pkcs1_sha256 rsa_pkcs1_sha384)',
  ])
  const [offer] = offers({ listeners: [ecdsaOnly], certificates })
  expect(offer?.signatureSchemes).toBe('ecdsa_secp256r1_sha256')
})

interface Situation {
  readonly listeners?: readonly TlsListener[]
  readonly certificates: readonly Signable[]
  readonly ticketLifetimeMs?: number
}

/** All certificates serve one name. */
function endpointsOf({ listeners, certificates, ticketLifetimeMs }: Situation): NativeEndpoint[] {
  const group = {
    names: ['a.test'],
    certificates: certificates.map((_, keyId) => ({ chain: [], keyId })),
    signatureSchemes: '',
  }
  return nativeEndpoints(
    listeners ?? [listener(0, POLICY)],
    [group],
    certificates,
    ticketLifetimeMs ?? 3_600_000,
  )
}

function offers(situation: Situation): readonly NativeOffer[] {
  return endpointsOf(situation)[0]?.credentials ?? []
}

function listener(
  id: number,
  policy: TlsPolicyOptions,
  unknownServerName: 'default' | 'refuse' = 'default',
): TlsListener {
  return { id, name: `listener ${id}`, tls: { policy, unknownServerName } }
}

function certificate(
  keyType: CertificateOptions['keyType'],
  able?: readonly SignatureSchemeName[],
  policy?: Partial<TlsPolicyOptions>,
): Signable {
  const names = able ?? schemes.filter((each) => each.keyType === keyType).map(({ name }) => name)
  return {
    certificate: {
      file: `${keyType}.pem`,
      chain: [],
      spki: new Uint8Array(),
      names: ['a.test'],
      keyType,
      notAfterMs: 0,
      ...(policy && { policy }),
    },
    schemes: names.map((name) => ({ name, ...SIGNATURE_SCHEMES[name] })),
  }
}
