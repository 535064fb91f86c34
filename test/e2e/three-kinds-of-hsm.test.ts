/**
 * One key in three kinds of HSM, as a user would configure them: SoftHSM, NSS's database, and SoftHSM behind p11-kit's
 * wire. Everything is asked through the real program with curl and openssl.
 */

import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { failures, HandshakeLoad } from '../support/handshake-load.ts'
import { movableKey } from '../support/movable-key.ts'
import { NssDatabase, nssSelector } from '../support/nss.ts'
import { RemoteToken } from '../support/p11-kit.ts'
import { type Sealgate, sealgateCommand, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl, sClient } from '../support/tools.ts'

const MEMBERS = ['softhsm', 'nss', 'remote']

let site: Site
let nss: NssDatabase
let remote: RemoteToken
let load: HandshakeLoad
let upstream: TestUpstream
let sealgate: Sealgate
let config: string

beforeAll(async () => {
  site = new Site()
  nss = new NssDatabase()
  remote = new RemoteToken(site.softHsm, site.token)
  load = await HandshakeLoad.compile()
  upstream = await startUpstream((_request, response) => response.end('served'))
  const key = movableKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }))
  site.token.importKey({ label: 'web', id: '01', ...key })
  nss.importKey({ label: 'web', ...key })
  await remote.start()
  const certificate = site.certificateFor({ label: 'web', spki: key.spki, hsms: MEMBERS })
  // SoftHSM was told the id when the key was imported; NSS makes its own.
  const uri = 'pkcs11:object=web;id=%01;type=private'
  const uris = { nss: nssSelector(key.spki).uri }
  config = JSON.stringify(
    site.config([upstream.port], {
      hsms: { softhsm: site.member(), nss: nssMember(), remote: remoteMember() },
      certificates: [{ ...certificate, key: { ...certificate.key, uri, uris } }],
    }),
  )
  sealgate = await startSealgate({ config })
  await vi.waitFor(async () => {
    for (const hsm of MEMBERS) expect(await stateOf(hsm)).toBe('up')
  }, WAIT)
})

afterAll(async () => {
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  await remote?.kill()
  load?.[Symbol.dispose]()
  nss?.[Symbol.dispose]()
  site?.[Symbol.dispose]()
})

test('handshakes of TLS 1.2 and 1.3 are signed by all three in turn', async () => {
  for (const version of ['1.2', '1.3', '1.2', '1.3', '1.2', '1.3']) {
    const { stdout } = await curl('--tls-max', version, '--cacert', site.ca, sealgate.url())
    expect(stdout).toBe('served')
  }
  const { stdout } = await sClient(sealgate.port(), ['-CAfile', site.ca, '-servername', 'localhost'])
  expect(stdout).toContain('Verification: OK')

  const metrics = await sealgate.metrics()
  for (const hsm of MEMBERS) {
    expect(metrics.sum('sealgate_signatures_total', { hsm, result: 'ok' })).toBeGreaterThan(0)
  }
})

test('no handshake fails when the wire to one of them is cut, and it signs when the wire is back', async () => {
  let cut = true
  const loading = loadWhile(() => cut)
  await untilSigned('remote', 50)

  await remote.kill()
  await vi.waitFor(async () => expect(await stateOf('remote')).not.toBe('up'), WAIT)
  const problem = (await status('remote'))?.lastError?.message
  expect(problem).toContain('hsm "remote": ')
  expect((await sealgate.admin('/readyz'))?.status).toBe(200)

  await remote.start()
  await untilSigned('remote', 50)
  cut = false

  for (const result of await loading) {
    expect(result.firstError).toBe('')
    expect(failures(result)).toBe(0)
    expect(result.handshakes).toBeGreaterThan(0)
  }
  const metrics = await sealgate.metrics()
  expect(metrics.sum('sealgate_handshakes_total', { result: 'failed' })).toBe(0)
  expect(metrics.sum('sealgate_hsm_errors_total', { hsm: 'remote', rv: 'CKR_DEVICE_ERROR' })).toBeGreaterThan(
    0,
  )
}, 60_000)

test('a module that must be told where its keys are, and is not, is named with the cure', async () => {
  const file = `${site.directory}/untold.json`
  const { initialize, ...untold } = nssMember()
  const certificate = site.certificate({ hsms: ['softhsm', 'nss'] })
  const hsms = { softhsm: site.member(), nss: untold }
  writeFileSync(file, JSON.stringify(site.config([upstream.port], { hsms, certificates: [certificate] })))

  const { status, stdout, stderr } = await sealgateCommand(['check', '--config', file])

  expect(initialize).toContain('configdir=')
  expect(status).toBe(69)
  expect(`${stdout}${stderr}`).toMatch(/nss.*C_Initialize returned CKR_ARGUMENTS_BAD.*"initialize"/s)
})

/** Entries of `hsms` in a configuration. */
function nssMember() {
  const { module, initialize, label: token, pinFile } = nss
  return { module, initialize, token, pin: { file: pinFile } }
}

function remoteMember() {
  const { module, env } = remote.hsmOptions()
  return { ...site.member(), module, env }
}

/** Full handshakes in parallel, a second at a time. */
async function loadWhile(wanted: () => boolean) {
  const results = []
  while (wanted()) results.push(await load.run(sealgate.port(), '--concurrency', '20', '--seconds', '1'))
  return results
}

async function untilSigned(hsm: string, more: number): Promise<void> {
  const signed = async () =>
    (await sealgate.metrics()).sum('sealgate_signatures_total', { hsm, result: 'ok' })
  const before = await signed()
  await vi.waitFor(async () => expect(await signed()).toBeGreaterThan(before + more), WAIT)
}

async function status(hsm: string) {
  return (await sealgate.status()).hsms.find(({ name }) => name === hsm)
}

async function stateOf(hsm: string): Promise<string | undefined> {
  return (await status(hsm))?.state
}

const WAIT = { timeout: 15_000, interval: 25 }
