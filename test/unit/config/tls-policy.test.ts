/** `tls` of listeners and certificates: named policies, single settings, and words that OpenSSL does not know. */

import { createSecureContext } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Config } from '../../../src/config/config.ts'
import type { TlsPolicyOptions } from '../../../src/tls/options.ts'
import { type ConfigFixture, configFixture, good } from './config-fixture.ts'

let fixture: ConfigFixture

beforeAll(() => {
  fixture = configFixture()
})

afterAll(() => fixture[Symbol.dispose]())

const listenerTls = (settings: string) => good('upstream: web }', `upstream: web, tls: { ${settings} } }`)
const certificateTls = (settings: string) =>
  good('hsms: [hsm-a] }', `hsms: [hsm-a] }\n    tls: { ${settings} }`)

describe('a policy', () => {
  test('is intermediate where nothing is said: TLS 1.2 with forward secrecy and AEAD, and TLS 1.3', async () => {
    const policy = await policyOf(good('', ''))

    expect(policy).toMatchObject({
      versions: ['TLSv1.2', 'TLSv1.3'],
      tls13Suites: ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'],
      tickets: 1,
      ticketLifetimeMs: undefined,
    })
    expect(policy?.tls12Suites).toHaveLength(6)
    for (const suite of policy?.tls12Suites ?? []) expect(suite).toMatch(/^ECDHE-.*(GCM|POLY1305)/)
  })

  test('begins with X25519MLKEM768 exactly where this OpenSSL has it', async () => {
    const policy = await policyOf(good('', ''))

    const hybrid = opensslHas('X25519MLKEM768') ? ['X25519MLKEM768'] : []
    expect(policy?.groups).toEqual([...hybrid, 'X25519', 'P-256', 'P-384'])
  })

  test('named modern is TLS 1.3 only, and nothing that signs with SHA-224', async () => {
    const modern = await policyOf(listenerTls('policy: modern'))
    const intermediate = await policyOf(good('', ''))

    expect(modern).toMatchObject({ versions: ['TLSv1.3'] })
    expect(intermediate?.signatureSchemes.at(-1)).toBe('ecdsa_sha224')
    expect(modern?.signatureSchemes).toEqual(intermediate?.signatureSchemes.slice(0, -1))
  })

  test('takes single settings on top of the named one', async () => {
    const settings =
      'policy: modern, groups: [P-384], signature_schemes: [ecdsa_secp384r1_sha384, rsa_pss_rsae_sha256], tickets: 0, ticket_lifetime: 90m'

    expect(await policyOf(listenerTls(settings))).toMatchObject({
      versions: ['TLSv1.3'],
      groups: ['P-384'],
      signatureSchemes: ['ecdsa_secp384r1_sha384', 'rsa_pss_rsae_sha256'],
      tickets: 0,
      ticketLifetimeMs: 5_400_000,
    })
  })

  test('of a certificate holds only what it changes', async () => {
    const single = await fixture.load(certificateTls('groups: [P-256]'))
    const named = await fixture.load(certificateTls('policy: modern'))

    expect(single.certificates[0]?.certificate.policy).toEqual({ groups: ['P-256'] })
    expect(Object.keys(named.certificates[0]?.certificate.policy ?? {}).toSorted()).toEqual([
      'groups',
      'signatureSchemes',
      'tls12Suites',
      'tls13Suites',
      'versions',
    ])
  })
})

describe('words that cannot be', () => {
  test('are all told at once, each at its own place', async () => {
    const problems = await fixture.problems(
      listenerTls(
        'versions: [TLSv1.2], tls12_suites: [ECDHE-ECDSA-AES128-GCM-SHA265, AES128-SHA], tls13_suites: [TLS_AES_1], groups: [X25519, P-999, X25519], signature_schemes: [ed25519, rsa_pkcs1_sha1]',
      ).replace('uri: "pkcs11:object=web', 'uri: "pkcs11:objekt=web'),
    )

    const places = problems.map(({ path, line, column }) => `${line}:${column} ${path}`)
    expect(places).toEqual([
      '10:17 certificates[0].key.uri',
      '12:108 listeners[0].tls.tls12_suites[0]',
      '12:139 listeners[0].tls.tls12_suites[1]',
      '12:167 listeners[0].tls.tls13_suites[0]',
      '12:196 listeners[0].tls.groups[1]',
      '12:203 listeners[0].tls.groups[2]',
      '12:241 listeners[0].tls.signature_schemes[1]',
    ])
    expect(problems.slice(1).map(({ message }) => message)).toEqual([
      `OpenSSL ${process.versions.openssl} knows no cipher suite "ECDHE-ECDSA-AES128-GCM-SHA265"; did you mean "ECDHE-ECDSA-AES128-GCM-SHA256"?`,
      expect.stringMatching(/^"AES128-SHA" is no suite with ECDHE and a certificate/),
      `OpenSSL ${process.versions.openssl} knows no cipher suite of TLS 1.3 "TLS_AES_1"`,
      expect.stringMatching(`^OpenSSL ${process.versions.openssl} knows no group "P-999"`),
      '"X25519" is named twice',
      expect.stringMatching('^"rsa_pkcs1_sha1" is no signature scheme that Sealgate knows; did you mean'),
    ])
  })

  test.each([
    ['versions: [TLSv1.1]', /must be TLSv1.2 or TLSv1.3; did you mean "TLSv1.[23]"\?/],
    ['versions: []', /is empty/],
    ['policy: modren', /must be modern or intermediate; did you mean "modern"\?/],
    ['groups: ["X25519:P-256"]', /knows no group "X25519:P-256"/],
    ['groups: ["?X25519"]', /knows no group/],
    ['tls12_suites: ["HIGH:!aNULL"]', /is no suite with ECDHE/],
    ['tls12_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]', /write it as OpenSSL does/],
    ['tls12_suites: [DHE-RSA-AES128-GCM-SHA256]', /is no suite with ECDHE/],
    ['tls13_suites: [ECDHE-RSA-AES128-GCM-SHA256]', /knows no cipher suite of TLS 1.3/],
    ['tickets: 9', /is too large/],
    ['ticket_lifetime: 8d', /is too large/],
    ['curves: [X25519]', /unknown key/],
    ['signature_schemes: [ed25519]', /has none for the key of any certificate/],
  ])('tls: { %s } is refused', async (settings, message) => {
    const complaints = await fixture.complaints(listenerTls(settings))

    expect(complaints).toHaveLength(1)
    expect(complaints[0]).toMatch(message)
  })

  test('in a certificate are told the same way', async () => {
    expect(await fixture.complaints(certificateTls('groups: [P-999]'))).toEqual([
      expect.stringMatching(/^certificates\[0\]\.tls\.groups\[0\]: OpenSSL .* knows no group "P-999"/),
    ])
    expect(await fixture.complaints(certificateTls('signature_schemes: [ed25519]'))).toEqual([
      expect.stringMatching(
        /^certificates\[0\]\.tls\.signature_schemes: has none for the key of .*leaf\.pem/,
      ),
    ])
  })
})

test('certificates with a name in common must have the same settings', async () => {
  const second = `  - chain: leaf.pem
    key: { uri: "pkcs11:object=second;type=private", hsms: [hsm-a] }
    tls: { policy: modern }
listeners`
  const complaints = await fixture.complaints(good('listeners', second))

  expect(complaints).toEqual([
    expect.stringMatching(
      /^certificates\[1\]\.tls: differs from that of .*leaf\.pem, which has a name in common/,
    ),
  ])
})

async function policyOf(yaml: string): Promise<TlsPolicyOptions | undefined> {
  const config: Config = await fixture.load(yaml)
  const [listener] = config.listeners
  return listener?.protocol === 'http' ? listener.tls.policy : undefined
}

function opensslHas(group: string): boolean {
  try {
    createSecureContext({ ecdhCurve: group })
    return true
  } catch {
    return false
  }
}
