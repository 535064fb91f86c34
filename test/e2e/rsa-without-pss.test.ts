/**
 * An HSM that lists no CKM_RSA_PKCS_PSS: its RSA keys sign TLS 1.2 only. Clients are not offered what would fail, and
 * the operator is told before the first client.
 */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { PATIENCE } from '../support/patience.ts'
import { type Sealgate, sealgateCommand, startSealgate } from '../support/sealgate.ts'
import { Site, type SiteCertificate } from '../support/site.ts'
import { sClient } from '../support/tools.ts'

let site: Site
let upstream: TestUpstream
let sealgate: Sealgate
let rsa: SiteCertificate
let config: object

beforeAll(async () => {
  site = new Site()
  upstream = await startUpstream((_request, response) => response.end('served'))
  rsa = site.certificate({ names: ['rsa.test'], type: 'rsa:2048' })
  const certificates = [
    rsa,
    site.certificate({ names: ['both.test'] }),
    site.certificate({ names: ['both.test'], type: 'rsa:2048' }),
  ]
  // SoftHSM swallows the first name of such a list.
  const conf = readFileSync(site.softHsm.conf, 'utf8')
  writeFileSync(site.softHsm.conf, `${conf}slots.mechanisms = -CKM_MD5,CKM_RSA_PKCS_PSS\n`)
  const listener = { address: '127.0.0.1:0', protocol: 'http', upstream: 'app' }
  config = site.config([upstream.port], {
    certificates,
    listeners: [
      { ...listener, name: 'usual' },
      { ...listener, name: 'modern', tls: { policy: 'modern' } },
    ],
  })
  sealgate = await startSealgate({ config })
})

afterAll(async () => {
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

test('a client that can do both versions gets TLS 1.2 from the RSA key', async () => {
  const { stdout } = await ask('usual', 'rsa.test')

  expect(stdout).toContain('Cipher is ECDHE-RSA-AES128-GCM-SHA256')
  expect(stdout).toContain('Peer signature type: RSA\n')
  expect(stdout).toContain('served')
})

test('a client that knows TLS 1.3 only is refused with an alert, not with a signature that fails', async () => {
  const { stderr } = await ask('usual', 'rsa.test', '-tls1_3')

  expect(stderr).toContain('alert protocol version')
})

test('beside an ECDSA key TLS 1.3 goes on', async () => {
  const { stdout } = await ask('usual', 'both.test', '-tls1_3')

  expect(stdout).toContain('Peer signature type: ECDSA\n')
})

test('beside an ECDSA key a client that can verify RSA only gets TLS 1.2', async () => {
  const { stdout } = await ask('usual', 'both.test', '-sigalgs', 'rsa_pss_rsae_sha256:rsa_pkcs1_sha256')

  expect(stdout).toContain('Cipher is ECDHE-RSA-AES128-GCM-SHA256')
  expect(stdout).toContain('Peer signature type: RSA\n')
})

test.each([
  ['usual', 'both.test'],
  ['usual', 'rsa.test'],
  ['modern', 'rsa.test'],
])(
  'a client of %s that can verify no key of %s is refused with handshake_failure, and the log says why',
  async (listener, name) => {
    const before = failures(listener).length
    const { stderr } = await ask(listener, name, '-sigalgs', 'ed25519')

    expect(stderr).toContain('alert handshake failure')
    await vi.waitFor(() => expect(failures(listener).length).toBe(before + 1), PATIENCE)
    expect(failures(listener).at(-1)?.['reason']).toMatch(
      /no shared cipher|no shared signature algorithms|no suitable signature algorithm/,
    )
  },
)

test('start and check say what is limited and what cannot be served', async () => {
  const file = join(site.directory, 'check.yaml')
  writeFileSync(file, JSON.stringify(config))
  const { status, stdout } = await sealgateCommand(['check', '--config', file])

  const limited = 'TLS 1.2 only on usual: no RSA-PSS for this key'
  const unserved = 'not served on modern: no RSA-PSS for this key, and TLS 1.2 is not allowed there'
  expect(status).toBe(69)
  expect(stdout).toMatch(new RegExp(`^warning +${rsa.chain} +${limited}$`, 'm'))
  expect(stdout).toMatch(new RegExp(`^error +${rsa.chain} +${unserved}$`, 'm'))
  for (const reason of [limited, unserved]) {
    expect(sealgate.lines).toContainEqual(
      expect.objectContaining({ level: 'warn', subject: rsa.chain, reason }),
    )
  }
})

function ask(listener: string, serverName: string, ...args: readonly string[]) {
  return sClient(sealgate.port(listener), ['-servername', serverName, ...args])
}

function failures(listener: string) {
  return sealgate.lines.filter((line) => line.msg === 'handshake failed' && line['listener'] === listener)
}
