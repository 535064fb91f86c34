/**
 * Every kind of key in every version of TLS that is offered: the certificate verifies, and the signature is of the
 * kind that the client asked for. What is not offered is refused with an alert that says why.
 */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import type { TokenKeyType } from '../support/softhsm.ts'
import { sClient } from '../support/tools.ts'

interface Case {
  readonly name: string
  readonly type: TokenKeyType
  /** As s_client shows the signature: TLS 1.3, TLS 1.2 by default, and TLS 1.2 where PKCS#1 v1.5 is asked for. */
  readonly signature: string
  readonly digest?: string
}

const CASES: readonly Case[] = [
  { name: 'p256.test', type: 'EC:prime256v1', signature: 'ECDSA', digest: 'SHA256' },
  { name: 'p384.test', type: 'EC:secp384r1', signature: 'ECDSA', digest: 'SHA384' },
  { name: 'p521.test', type: 'EC:secp521r1', signature: 'ECDSA', digest: 'SHA512' },
  { name: 'ed25519.test', type: 'EC:edwards25519', signature: 'ed25519' },
  { name: 'rsa2048.test', type: 'rsa:2048', signature: 'RSA-PSS', digest: 'SHA256' },
  { name: 'rsa3072.test', type: 'rsa:3072', signature: 'RSA-PSS', digest: 'SHA256' },
  { name: 'rsa4096.test', type: 'rsa:4096', signature: 'RSA-PSS', digest: 'SHA256' },
]

let site: Site
let upstream: TestUpstream
let sealgate: Sealgate

beforeAll(async () => {
  site = new Site()
  upstream = await startUpstream((_request, response) => response.end('served'))
  const certificates = CASES.map(({ name, type }) => site.certificate({ names: [name], type }))
  sealgate = await startSealgate({ config: site.config([upstream.port], { certificates }) })
})

afterAll(async () => {
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

for (const version of ['1.2', '1.3']) {
  for (const { name, type, signature, digest } of CASES) {
    test(`TLS ${version} is signed with a ${type} key`, async () => {
      const { stdout, stderr, status } = await handshake(name, option(version))

      expect({ status, stderr }).toMatchObject({ status: 0 })
      expect(stdout).toContain('Verification: OK')
      expect(stdout).toContain(`Protocol  : TLSv${version}`)
      expect(stdout).toContain(`Peer signature type: ${signature}\n`)
      if (digest !== undefined) expect(stdout).toContain(`Peer signing digest: ${digest}\n`)
      expect(stdout).toContain('served')
    })
  }
}

test.each([
  ['RSA+SHA256', 'RSA', 'SHA256'],
  ['RSA+SHA384', 'RSA', 'SHA384'],
  ['RSA+SHA512', 'RSA', 'SHA512'],
  ['rsa_pss_rsae_sha384', 'RSA-PSS', 'SHA384'],
  ['rsa_pss_rsae_sha512', 'RSA-PSS', 'SHA512'],
])('a TLS 1.2 client that knows only %s gets it', async (sigalgs, signature, digest) => {
  const { stdout } = await handshake('rsa2048.test', '-tls1_2', '-sigalgs', sigalgs)

  expect(stdout).toContain(`Peer signature type: ${signature}\n`)
  expect(stdout).toContain(`Peer signing digest: ${digest}\n`)
})

// No curve is tied to a hash there (RFC 8446 §4.2.3): the digest is cut to the order's length, or shorter than it.
test.each([
  ['p256.test', 'SHA224'],
  ['p256.test', 'SHA384'],
  ['p256.test', 'SHA512'],
  ['p384.test', 'SHA256'],
  ['p384.test', 'SHA512'],
  ['p521.test', 'SHA224'],
  ['p521.test', 'SHA256'],
])('a TLS 1.2 client gets the only hash that it knows from the EC key of %s: %s', async (name, digest) => {
  const { stdout, status, stderr } = await handshake(name, '-tls1_2', '-sigalgs', `ECDSA+${digest}`)

  expect({ status, stderr }).toMatchObject({ status: 0 })
  expect(stdout).toContain('Peer signature type: ECDSA\n')
  expect(stdout).toContain(`Peer signing digest: ${digest}\n`)
  expect(stdout).toContain('served')
})

test('a TLS 1.2 client that knows every hash gets the one of the curve', async () => {
  const { stdout } = await handshake(
    'p384.test',
    '-tls1_2',
    '-sigalgs',
    'ECDSA+SHA224:ECDSA+SHA512:ECDSA+SHA256:ECDSA+SHA384',
  )

  expect(stdout).toContain('Peer signing digest: SHA384\n')
})

test.each([
  ['p256.test', '-tls1_3', 'ecdsa_secp384r1_sha384'], // a curve signs with its own hash only
  ['p256.test', '-tls1_3', 'ECDSA+SHA224:ecdsa_secp384r1_sha384'], // alone, s_client does not even ask for it
  ['rsa2048.test', '-tls1_2', 'RSA+SHA224'],
])('the key of %s with %s does not sign with %s', async (name, version, sigalgs) => {
  const { status, stderr } = await handshake(name, version, '-sigalgs', sigalgs)

  expect(status).not.toBe(0)
  expect(stderr).toContain('alert handshake failure')
})

test.each(['-tls1', '-tls1_1'])('%s is refused with the alert protocol_version', async (version) => {
  // The client's own security level would refuse before we can.
  const { status, stderr } = await handshake('p256.test', version, '-cipher', 'ALL@SECLEVEL=0')

  expect(status).not.toBe(0)
  expect(stderr).toContain('alert protocol version')
})

test.each([
  'AES128-GCM-SHA256', // no forward secrecy
  'ECDHE-ECDSA-AES128-SHA256', // no AEAD
  'ECDHE-ECDSA-AES128-SHA',
])('a TLS 1.2 client that knows only %s is refused with the alert handshake_failure', async (cipher) => {
  const { status, stderr } = await handshake('p256.test', '-tls1_2', '-cipher', cipher)

  expect(status).not.toBe(0)
  expect(stderr).toContain('alert handshake failure')
})

function handshake(name: string, ...args: readonly string[]) {
  return sClient(sealgate.port(), [
    '-CAfile',
    site.ca,
    '-servername',
    name,
    '-verify_hostname',
    name,
    ...args,
  ])
}

function option(version: string): string {
  return version === '1.2' ? '-tls1_2' : '-tls1_3'
}
