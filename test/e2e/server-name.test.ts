/**
 * Which certificate a client gets: by the name it asks for, by what it can verify, and the first one of the
 * configuration where nothing fits. Two certificates for one name stand side by side.
 */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { sClient } from '../support/tools.ts'

let site: Site
let upstream: TestUpstream
let sealgate: Sealgate

beforeAll(async () => {
  site = new Site()
  upstream = await startUpstream((_request, response) => response.end())
  const certificates = [
    site.certificate({ names: ['default.test'] }),
    site.certificate({ names: ['both.test'] }),
    site.certificate({ names: ['both.test'], type: 'rsa:2048' }),
    site.certificate({ names: ['*.wild.test'] }),
    site.certificate({ names: ['exact.wild.test', 'second.test'] }),
  ]
  sealgate = await startSealgate({ config: site.config([upstream.port], { certificates }) })
})

afterAll(async () => {
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

test.each([
  ['both.test', 'both.test'],
  ['BOTH.Test', 'both.test'],
  ['second.test', 'exact.wild.test'],
  ['one.wild.test', '*.wild.test'],
  ['exact.wild.test', 'exact.wild.test'],
])('a client that asks for %s gets the certificate of %s', async (name, expected) => {
  expect(await subject('-servername', name)).toBe(expected)
})

test.each(['unknown.test', 'two.labels.wild.test', 'wild.test'])(
  'a client that asks for %s, which no certificate has, gets the first one',
  async (name) => {
    expect(await subject('-servername', name)).toBe('default.test')
  },
)

test('a client that names no server gets the first certificate', async () => {
  expect(await subject('-noservername')).toBe('default.test')
})

test.each(['-tls1_2', '-tls1_3'])(
  'a client that can verify both certificates of a name gets the ECDSA one (%s)',
  async (version) => {
    const signature = async (sigalgs: string) => {
      const args = [version, '-servername', 'both.test', '-CAfile', site.ca, '-sigalgs', sigalgs]
      return /Peer signature type: (\S+)/.exec((await sClient(sealgate.port(), args)).stdout)?.[1]
    }

    expect(await signature('ECDSA+SHA256:RSA-PSS+SHA256')).toBe('ECDSA')
    expect(await signature('RSA-PSS+SHA256:ECDSA+SHA256')).toBe('ECDSA') // ours is the preference: it is cheaper
    expect(await signature('ECDSA+SHA256')).toBe('ECDSA')
  },
)

test.each([
  ['-tls1_2', 'RSA-PSS'],
  ['-tls1_3', 'RSA-PSS'],
])('a client without ECDSA gets the RSA certificate of the same name (%s)', async (version, expected) => {
  // The CA signs with ECDSA, so this client cannot verify the chain; the handshake is what counts.
  const { stdout } = await runWithoutVerification(version, 'rsa_pss_rsae_sha256')

  expect(stdout).toContain(`Peer signature type: ${expected}\n`)
})

test('a client that can verify no key of the name is refused with the alert handshake_failure', async () => {
  const { stderr } = await runWithoutVerification('-tls1_3', 'ed25519')

  expect(stderr).toContain('alert handshake failure')
})

async function subject(...args: readonly string[]): Promise<string | undefined> {
  const { stdout } = await sClient(sealgate.port(), [...args, '-CAfile', site.ca])
  return /^subject=CN = (.*)$/m.exec(stdout)?.[1]
}

function runWithoutVerification(version: string, sigalgs: string) {
  return sClient(sealgate.port(), [version, '-servername', 'both.test', '-sigalgs', sigalgs])
}
