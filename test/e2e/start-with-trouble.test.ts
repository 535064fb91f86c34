/**
 * HSMs that are not there when the proxy starts: what can be signed for is served, the rest when its HSM comes, and
 * nobody has to do anything. Who cannot be helped by waiting is told at once.
 */

import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { listen, port } from '../integration/proxy/support/front-server.ts'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { Faults } from '../support/p11-faults.ts'
import { Sealgate, sealgateCommand, startSealgate } from '../support/sealgate.ts'
import { Site, type SiteCertificate } from '../support/site.ts'
import { curl, sClient } from '../support/tools.ts'

const UNREACHABLE = 'C_Initialize rv CKR_DEVICE_ERROR'

let site: Site
let upstream: TestUpstream
let ec: SiteCertificate
let rsa: SiteCertificate
/** One for each member, `hsm-a` and `hsm-b`. */
let faults: { readonly a: Faults; readonly b: Faults }

beforeAll(async () => {
  site = new Site()
  ec = site.certificate()
  rsa = site.certificate({ type: 'rsa:2048' })
  faults = { a: new Faults(site.softHsm, 'hsm-a'), b: new Faults(site.softHsm, 'hsm-b') }
  upstream = await startUpstream((_request, response) => response.end('served'))
})

afterAll(async () => {
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

test('one of two members is not there: it starts, warns, and has both when the second one comes', async () => {
  faults.a.clear()
  faults.b.set(UNREACHABLE)
  await using sealgate = await startSealgate({ config: config([on(ec, 'hsm-a', 'hsm-b')]) })

  expect(sealgate.lines.find(({ msg }) => msg === 'HSM not ready')).toMatchObject({
    level: 'warn',
    hsm: 'hsm-b',
  })
  expect((await sealgate.admin('/readyz'))?.status).toBe(200)
  expect(await served(sealgate)).toBe('served')

  faults.b.clear()
  await vi.waitFor(async () => expect(await up(sealgate, 'hsm-b')).toBe(1), SOON)
  expect((await sealgate.admin('/readyz'))?.status).toBe(200)
  await sealgate.finish()
})

test('no member is there: it is alive but not ready, refuses connections, and serves as soon as one comes', async () => {
  faults.a.set(UNREACHABLE)
  faults.b.set(UNREACHABLE)
  await using taken = await freePort()
  const address = `127.0.0.1:${taken.port}`
  await taken[Symbol.asyncDispose]()
  await using sealgate = await startWaiting(config([on(ec, 'hsm-a', 'hsm-b')], { address }))

  expect(await sealgate.admin('/healthz')).toEqual({ status: 200, text: 'ok\n' })
  const notReady = await sealgate.admin('/readyz')
  expect(notReady?.status).toBe(503)
  for (const says of [
    /^no HSM can sign for \S+\.pem; hsm "hsm-a": .*CKR_DEVICE_ERROR.*; hsm "hsm-b": .*CKR_DEVICE_ERROR/m,
    /^waiting: the listeners open when a certificate can be signed for$/m,
  ])
    expect(notReady?.text).toMatch(says)
  expect(await sealgate.status()).toMatchObject({ state: 'waiting', certificates: [{ ready: false }] })
  // 7: could not connect.
  expect((await curl('--insecure', `https://${address}/`)).status).toBe(7)

  faults.b.clear()
  const returnedAtMs = performance.now()
  await vi.waitFor(async () => expect((await sealgate.admin('/readyz'))?.status).toBe(200), SOON)
  expect(performance.now() - returnedAtMs).toBeLessThan(RECOVERY_MS)
  expect((await curl('--cacert', site.ca, `https://localhost:${taken.port}/`)).stdout).toBe('served')
  sealgate.markStarted()
  await sealgate.finish()
})

test('TERM ends it with 0 while it waits for an HSM', async () => {
  faults.a.set(UNREACHABLE)
  await using sealgate = await startWaiting(config([on(ec, 'hsm-a')]))

  expect(await sealgate.stop()).toEqual({ status: 0, signal: null })
})

test.each([
  { call: 'C_Initialize', args: [] },
  { call: 'C_Initialize', args: ['--strict'] },
  { call: 'C_Login', args: ['--strict'] },
])('TERM does not wait for a start whose $call hangs ($args)', async ({ call, args }) => {
  faults.a.clear()
  faults.b.set(`${call} hang`)
  const both = config([on(ec, 'hsm-a', 'hsm-b')])
  await using sealgate = new Sealgate({ config: both, args })
  await sealgate.logged('hsm is up') // hsm-a: it could serve

  const sentAtMs = performance.now()
  expect(await sealgate.stop()).toEqual({ status: 0, signal: null })

  // A host that hangs has 2 s to leave.
  expect(performance.now() - sentAtMs).toBeLessThan(STOP_MS)
  expect(sealgate.lines.map(({ msg }) => msg)).toEqual(expect.arrayContaining(['draining', 'stopped']))
  expect(sealgate.lines.map(({ msg }) => msg)).not.toContain('ready')
  expect(sealgate.stderr).toBe('')
})

test('a module that hangs does not keep the certificates of another HSM from being served', async () => {
  faults.a.set('C_Initialize hang')
  faults.b.clear()
  await using sealgate = await startSealgate({ config: config([on(ec, 'hsm-a', 'hsm-b')]) })

  expect(sealgate.lines.find(({ msg }) => msg === 'HSM not ready')).toMatchObject({
    hsm: 'hsm-a',
    reason: 'it has not answered yet',
  })
  expect(await served(sealgate)).toBe('served')
  expect(await sealgate.stop()).toEqual({ status: 0, signal: null })
})

test('a certificate that nobody can sign for gets an alert, and does not stop the others', async () => {
  faults.a.clear()
  faults.b.set(UNREACHABLE)
  const away = on(site.certificate({ names: ['away.test'] }), 'hsm-b')
  await using sealgate = await startSealgate({ config: config([on(ec, 'hsm-a'), away]) })

  const warning = sealgate.lines.find(({ msg }) => msg === 'nobody can sign for a certificate')
  expect(warning).toMatchObject({ level: 'warn', certificate: away.chain, names: ['away.test'] })
  expect(await served(sealgate)).toBe('served')
  const refused = await sClient(sealgate.port(), ['-servername', 'away.test'], '')
  expect(refused.stderr).toMatch(/alert internal error/)
  const readiness = await sealgate.admin('/readyz')
  expect(readiness?.status).toBe(503)
  expect(readiness?.text).toMatch(new RegExp(`^no HSM can sign for ${away.chain}; hsm "hsm-b": `, 'm'))
  expect(await sealgate.admin('/readyz?certificates=any')).toMatchObject({ status: 200 })
  const { certificates } = await sealgate.status()
  expect(certificates.map(({ ready }) => ready)).toEqual([true, false])

  faults.b.clear()
  await vi.waitFor(async () => expect((await sealgate.admin('/readyz'))?.status).toBe(200), SOON)
  const handshake = await sClient(sealgate.port(), ['-servername', 'away.test', '-CAfile', site.ca], '')
  expect(handshake.stdout).toMatch(/Verify return code: 0/)
  await sealgate.finish()
})

test('while nobody signs with the ECDSA key of a name, its RSA certificate is served', async () => {
  faults.a.clear()
  faults.b.set(UNREACHABLE)
  await using sealgate = await startSealgate({ config: config([on(ec, 'hsm-b'), on(rsa, 'hsm-a')]) })

  for (const version of ['-tls1_2', '-tls1_3'])
    expect((await sClient(sealgate.port(), [version], '')).stdout).toMatch(/Peer signature type: RSA/)

  faults.b.clear()
  await vi.waitFor(async () => expect(await up(sealgate, 'hsm-b')).toBe(1), SOON)
  for (const version of ['-tls1_2', '-tls1_3'])
    expect((await sClient(sealgate.port(), [version], '')).stdout).toMatch(/Peer signature type: ECDSA/)
  await sealgate.finish()
})

test('an HSM that comes later and cannot do PSS gets no PSS handshake', async () => {
  const conf = join(site.directory, 'no-pss.conf')
  writeFileSync(conf, `${readFileSync(site.softHsm.conf, 'utf8')}slots.mechanisms = CKM_RSA_PKCS,CKM_ECDSA\n`)
  faults.a.set(UNREACHABLE)
  const hsms = {
    'hsm-a': { ...site.member(), ...faults.a.options, env: { ...faults.a.env, SOFTHSM2_CONF: conf } },
  }
  await using sealgate = await startWaiting({ ...config([on(rsa, 'hsm-a')]), hsms })

  faults.a.clear()
  await sealgate.logged('ready')
  const tls12 = await sClient(sealgate.port(), ['-tls1_2'], '')
  expect(tls12.stdout).toMatch(/Peer signature type: RSA$/m)
  // TLS 1.3 has no other scheme for RSA keys, so it is not spoken: refused at once, not after the deadline of a signature.
  const tls13 = await sClient(sealgate.port(), ['-tls1_3'], '')
  expect(tls13.stderr).toMatch(/alert protocol version/)
  sealgate.markStarted()
  await sealgate.finish()
})

test('a port in use is found although the listeners would open later', async () => {
  faults.a.set(UNREACHABLE)
  await using taken = await freePort()
  const text = JSON.stringify(config([on(ec, 'hsm-a')], { address: `127.0.0.1:${taken.port}` }))

  const refused = await run(text)

  expect(refused).toMatchObject({ status: UNAVAILABLE })
  expect(refused.stderr).toMatch(new RegExp(`cannot listen on 127.0.0.1:${taken.port}: the port is in use`))
})

test('an HSM that comes back and refuses the PIN ends the wait: nothing would heal that', async () => {
  faults.a.set(UNREACHABLE)
  await using sealgate = await startWaiting(config([on(ec, 'hsm-a')]))

  faults.a.set('C_Login rv CKR_PIN_INCORRECT')

  expect(await sealgate.ended).toEqual({ status: UNAVAILABLE, signal: null })
  expect(sealgate.stderr).toMatch(/^hsm "hsm-a": the token refused the PIN .* it was tried once/)
})

test('what waiting does not heal ends it at once, also without --strict', async () => {
  faults.a.clear()
  const wrong = { ...on(ec, 'hsm-a'), key: { uri: 'pkcs11:object=kye-1;type=private', hsms: ['hsm-a'] } }

  const refused = await run(JSON.stringify(config([wrong])))

  expect(refused).toMatchObject({ status: UNAVAILABLE })
  expect(refused.stderr).toMatch(/^hsm "hsm-a": no private key matches pkcs11:object=kye-1/)
})

test('--strict ends with 69 when one of the certificates cannot be signed for', async () => {
  faults.a.clear()
  faults.b.set(UNREACHABLE)
  const away = on(site.certificate({ names: ['away.test'] }), 'hsm-b')

  const refused = await run(JSON.stringify(config([on(ec, 'hsm-a'), away])), '--strict')

  expect(refused).toMatchObject({ status: UNAVAILABLE })
  expect(refused.stderr).toMatch(/^hsm "hsm-b": .*CKR_DEVICE_ERROR/)
})

function config(certificates: readonly SiteCertificate[], listener: { address?: string } = {}): object {
  const { address = '127.0.0.1:0' } = listener
  return site.config([upstream.port], {
    hsms: {
      'hsm-a': { ...site.member(), ...faults.a.options },
      'hsm-b': { ...site.member(), ...faults.b.options },
    },
    certificates,
    listeners: [{ name: 'web', address, protocol: 'http', upstream: 'app' }],
  })
}

function on(certificate: SiteCertificate, ...hsms: readonly string[]): SiteCertificate {
  return { ...certificate, key: { ...certificate.key, hsms } }
}

async function startWaiting(configuration: object): Promise<Sealgate> {
  const sealgate = new Sealgate({ config: configuration })
  try {
    await sealgate.logged('waiting for an HSM', START_MS)
  } catch (error) {
    await sealgate[Symbol.asyncDispose]()
    throw error
  }
  return sealgate
}

function run(text: string, ...options: readonly string[]): ReturnType<typeof sealgateCommand> {
  const file = join(site.directory, 'run.yaml')
  writeFileSync(file, text)
  return sealgateCommand(['run', ...options, '--config', file])
}

async function served(sealgate: Sealgate): Promise<string> {
  const { stdout, stderr } = await curl('--cacert', site.ca, sealgate.url())
  return stdout + stderr
}

async function up(sealgate: Sealgate, hsm: string): Promise<number> {
  return (await sealgate.metrics()).sum('sealgate_hsm_up', { hsm })
}

/** Occupied until disposed. */
async function freePort(): Promise<AsyncDisposable & { readonly port: number }> {
  const server = createServer()
  await listen(server)
  return {
    port: port(server),
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

const UNAVAILABLE = 69
const START_MS = 15_000
const STOP_MS = 4_500
const SOON = { timeout: 10_000, interval: 25 }
// A second, and what two busy cores need to start a process.
const RECOVERY_MS = 2_500
