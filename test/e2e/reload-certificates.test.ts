/**
 * Certificates and keys change while the proxy serves: a renewal under load, another key in the HSM, names that come and
 * go. Nobody's connection notices, and whatever is wrong changes nothing and is named. Real process, real SoftHSM.
 */

import { copyFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { connect as connectHttp2 } from 'node:http2'
import { Agent, request } from 'node:https'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { failures, HandshakeLoad } from '../support/handshake-load.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { eventually } from '../support/signing.ts'
import { Site, type SiteCertificate } from '../support/site.ts'
import { curl, sClient, shownCertificate } from '../support/tools.ts'

// Every test has a proxy of its own, and some compile the load generator.
vi.setConfig({ testTimeout: 90_000 })

const KEPT = 'not reloaded: the old configuration goes on'

let site: Site
let upstream: TestUpstream
let first: SiteCertificate
let sealgate: Sealgate

beforeEach(async () => {
  site = new Site()
  upstream = await startUpstream((_request, response) => response.end('served'))
  first = site.certificate({ names: ['localhost'] })
  sealgate = await startSealgate({ config: config([first]) })
  return async () => {
    await upstream[Symbol.asyncDispose]()
    site[Symbol.dispose]()
  }
})

afterEach(async () => {
  await sealgate.finish()
})

test('a renewal with the same key under load fails nobody and touches no HSM host', async () => {
  using load = await HandshakeLoad.compile()
  const [before, pids] = [await serial(), await hostPids()]
  const running = load.start(sealgate.port(), '--concurrency', '16', '--request')
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: readFileSync(site.ca) })
  const http2 = connectHttp2(sealgate.url(), { ca: readFileSync(site.ca) })
  const ports = new Set([await ask(agent)])
  expect(await askHttp2(http2)).toBe('served')

  for (let renewal = 0; renewal < 3; renewal++) {
    copyFileSync(renewed('key-1').chain, first.chain)
    expect(await sealgate.reload()).toMatchObject({
      msg: 'reloaded',
      newHosts: [],
      changed: ['certificates'],
    })
    ports.add(await ask(agent))
    expect(await askHttp2(http2)).toBe('served')
  }

  const result = await running.stop()
  expect(result.firstError).toBe('')
  expect(failures(result)).toBe(0)
  expect(result.handshakes).toBeGreaterThan(100)
  expect(await serial()).not.toBe(before)
  expect(await hostPids()).toEqual(pids)
  expect(ports.size).toBe(1)
  expect((await sealgate.metrics()).sum('sealgate_handshakes_total', { result: 'failed' })).toBe(0)
  agent.destroy()
  await new Promise<void>((resolve) => http2.close(resolve))
})

test('a key of another type, new in the HSM, is proved and taken while handshakes go on', async () => {
  using load = await HandshakeLoad.compile()
  const [oldHost] = await hostPids()
  const running = load.start(sealgate.port(), '--concurrency', '8', '--request')
  const rsa = site.certificate({ names: ['localhost'], type: 'rsa:2048' })

  expect(await sealgate.reload(config([rsa]))).toMatchObject({ msg: 'reloaded', newHosts: ['hsm-a'] })

  expect(await shown('-text')).toContain('rsaEncryption')
  const result = await running.stop()
  expect(result.firstError).toBe('')
  expect(failures(result)).toBe(0)
  const [newHost] = await hostPids()
  expect(newHost).not.toBe(oldHost)
  expect((await sealgate.metrics()).sum('sealgate_hsm_up', { hsm: 'hsm-a' })).toBe(1)
  await eventually(() => !isRunning(oldHost), 'the old host has left')
  expect((await sealgate.status()).reload.lingeringHosts).toBe(0)
})

test('what is wrong changes nothing, and is named in log, status and metrics', async () => {
  const before = await serial()
  const pids = await hostPids()
  const missing = { ...renewed('key-1'), key: { uri: 'pkcs11:object=nobody', hsms: ['hsm-a'] } }
  const other = site.certificate({ names: ['localhost'] })
  const mismatched = { chain: other.chain, key: first.key }
  const yaml = JSON.stringify(config([first]), null, 2).replace('"listeners": [', '"listeners": [[')

  const refusals = [
    [config([missing]), /sealgate\.yaml:\d+:\d+: certificates\[0\]\.key: .*nobody/],
    [config([mismatched]), /sealgate\.yaml:\d+:\d+: certificates\[0\]\.key: .*not the certificate's/],
    [yaml, /sealgate\.yaml:\d+:\d+: /],
    [
      config([{ ...first, chain: '/nowhere.pem' }]),
      /sealgate\.yaml:\d+:\d+: certificates\[0\]\.chain: .*no such file/,
    ],
    [
      config([first], { threads: { tls: 1, http: 2 } }),
      /sealgate\.yaml:\d+:\d+: threads: cannot change while/,
    ],
  ] as const
  for (const [next, reason] of refusals) {
    const line = await sealgate.reload(next)
    expect(line).toMatchObject({ level: 'error', msg: KEPT })
    expect(String(line['reasons'])).toMatch(reason)
    const { last } = (await sealgate.status()).reload
    expect(last).toMatchObject({ cause: 'HUP', result: 'refused', reasons: line['reasons'] })
    expect(await serial()).toBe(before)
    expect((await curl('--cacert', site.ca, sealgate.url())).stdout).toBe('served')
  }

  expect(await hostPids()).toEqual(pids)
  const metrics = await sealgate.metrics()
  expect(metrics.sum('sealgate_reloads_total', { result: 'refused' })).toBe(refusals.length)
  expect(metrics.sum('sealgate_last_reload_successful')).toBe(0)
  expect(await sealgate.reload(config([first]))).toMatchObject({ msg: 'reloaded' })
  expect((await sealgate.metrics()).sum('sealgate_last_reload_successful')).toBe(1)
})

test('a certificate for another name comes and goes, and 421 follows it', async () => {
  const status = async (host: string) => {
    const to = ['--resolve', `other.test:${sealgate.port()}:127.0.0.1`, '--cacert', site.ca]
    const answer = await curl(
      ...to,
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      '-H',
      `Host: ${host}`,
      sealgate.url(),
    )
    return answer.stdout
  }
  expect(await status('other.test')).toBe('421')

  const both = site.certificate({ names: ['localhost', 'other.test'], type: 'EC:prime256v1' })
  await sealgate.reload(config([both]))
  expect(await status('other.test')).toBe('200')
  expect(
    (
      await curl(
        '--resolve',
        `other.test:${sealgate.port()}:127.0.0.1`,
        '--cacert',
        site.ca,
        `https://other.test:${sealgate.port()}/`,
      )
    ).stdout,
  ).toBe('served')

  await sealgate.reload(config([first]))
  expect(await status('other.test')).toBe('421')
})

test('a policy that changes is that of the next handshake', async () => {
  expect((await sClient(sealgate.port(), ['-tls1_2', '-servername', 'localhost'])).stdout).toContain('served')

  const [listener] = listeners()
  await sealgate.reload(config([first], { listeners: [{ ...listener, tls: { policy: 'modern' } }] }))

  expect((await sClient(sealgate.port(), ['-tls1_2', '-servername', 'localhost'])).stderr).toContain(
    'alert protocol version',
  )
  expect((await sClient(sealgate.port(), ['-tls1_3', '-servername', 'localhost'])).stdout).toContain('served')
})

test('a ticket from before a renewal resumes after it', async () => {
  const session = join(site.directory, 'session')
  const args = ['-tls1_3', '-servername', 'localhost', '-CAfile', site.ca]
  await sClient(sealgate.port(), [...args, '-sess_out', session])
  copyFileSync(renewed('key-1').chain, first.chain)
  await sealgate.reload()

  const { stdout } = await sClient(sealgate.port(), [...args, '-sess_in', session])

  expect(stdout).toMatch(/^Reused, TLSv1.3/m)
})

test('a certificate that expires soon is told once, in the log and in the metric, until it is renewed', async () => {
  const told = () => sealgate.lines.filter(({ msg }) => msg === 'a certificate expires soon: renew it')
  const within = async (days: number) =>
    (await sealgate.metrics()).sum('sealgate_certificate_expiry_warning', { days: String(days) })
  const [before, spki] = [told().length, site.token.spki('key-1')]
  const soon = site.certificateFor({ label: 'key-1', spki, names: ['localhost'], days: 5 })
  await sealgate.reload(config([soon]))
  await sealgate.reload()

  expect(told().slice(before)).toMatchObject([{ level: 'error', certificate: soon.chain, daysLeft: 4 }])
  expect([await within(14), await within(7), await within(1)]).toEqual([1, 1, 0])

  const later = site.certificateFor({ label: 'key-1', spki, names: ['localhost'], days: 90 })
  await sealgate.reload(config([later]))
  expect(told()).toHaveLength(before + 1)
  expect(await within(30)).toBe(0)
})

test('ten HUPs at once are at most one more reload than is under way, and nothing is left of them', async () => {
  const rsa = site.certificate({ names: ['localhost'], type: 'rsa:2048' })
  for (let round = 0; round < 3; round++) {
    sealgate.configure(config([round % 2 === 0 ? rsa : first]))
    for (let hup = 0; hup < 10; hup++) sealgate.signal('SIGHUP')
    await sealgate.reloadEnds(sealgate.reloads().length)
  }
  await eventually(() => !sealgate.lines.slice(-1).some(({ msg }) => msg === 'reloading'), 'all are taken')

  await expect.poll(async () => (await sealgate.status()).reload.lingeringHosts, { timeout: 10_000 }).toBe(0)
  expect(sealgate.reloads().filter(({ msg }) => msg !== 'reloaded')).toEqual([])
  expect(sealgate.reloads().length).toBeLessThan(30)
  expect(await hostPids()).toHaveLength(1)
  expect((await curl('--cacert', site.ca, sealgate.url())).stdout).toBe('served')
  await sealgate.untilAtRest()
})

test('TERM during a reload wins', async () => {
  const rsa = site.certificate({ names: ['localhost'], type: 'rsa:2048' })
  sealgate.configure(config([rsa]))
  sealgate.signal('SIGHUP')
  sealgate.signal('SIGTERM')

  expect(await sealgate.ended).toEqual({ status: 0, signal: null })
  sealgate = await startSealgate({ config: config([first]) })
})

test('a chain file that is renamed over is taken up by itself, a broken one once refused', async () => {
  const before = await serial()
  const reloads = sealgate.reloads().length
  writeFileSync(`${first.chain}.new`, readFileSync(renewed('key-1').chain, 'utf8').slice(0, 300))
  renameSync(`${first.chain}.new`, first.chain)
  expect(await sealgate.reloadEnds(reloads)).toMatchObject({ msg: KEPT, cause: 'files' })
  expect(await serial()).toBe(before)

  copyFileSync(renewed('key-1').chain, `${first.chain}.new`)
  renameSync(`${first.chain}.new`, first.chain)
  expect(await sealgate.reloadEnds(reloads + 1)).toMatchObject({ msg: 'reloaded', cause: 'files' })
  expect(await serial()).not.toBe(before)
  expect(sealgate.reloads()).toHaveLength(reloads + 2)
})

test('an edited configuration is not taken up with a changed chain, unless it is watched as well', async () => {
  const [listener] = listeners()
  const modern = (watch: string) =>
    config([first], {
      listeners: [{ ...listener, tls: { policy: 'modern' } }],
      reload: { watch, interval: '100ms' },
    })
  const tls12 = async () =>
    (await sClient(sealgate.port(), ['-tls1_2', '-servername', 'localhost'])).stdout.includes('served')
  const reloads = sealgate.reloads().length

  sealgate.configure(modern('all'))
  copyFileSync(renewed('key-1').chain, first.chain)
  expect(await sealgate.reloadEnds(reloads)).toMatchObject({ msg: 'reloaded', changed: ['certificates'] })
  expect(await tls12()).toBe(true)

  await sealgate.reload()
  expect(await tls12()).toBe(false)
  sealgate.configure(config([first], { reload: { watch: 'all', interval: '100ms' } }))
  expect(await sealgate.reloadEnds(reloads + 2)).toMatchObject({ msg: 'reloaded', cause: 'configuration' })
  expect(await tls12()).toBe(true)
})

function listeners(): object[] {
  return [{ name: 'web', address: '127.0.0.1:0', protocol: 'http', upstream: 'app' }]
}

function config(certificates: readonly SiteCertificate[], overrides: object = {}): object {
  return site.config([upstream.port], {
    certificates,
    listeners: listeners(),
    tls: { handshake_timeout: '1s' },
    signing: { timeout: '1s' },
    threads: { tls: 2, http: 2 },
    reload: { interval: '100ms' },
    ...overrides,
  })
}

/** Another certificate for a key that the token has. */
function renewed(label: string): SiteCertificate {
  return site.certificateFor({ label, spki: site.token.spki(label), names: ['localhost'] })
}

function shown(...print: readonly string[]): Promise<string> {
  return shownCertificate(sealgate.port(), { serverName: 'localhost' }, ...print)
}

function serial(): Promise<string> {
  return shown('-serial')
}

async function hostPids(): Promise<number[]> {
  return (await sealgate.status()).hsms.flatMap(({ pid }) => pid ?? [])
}

function isRunning(pid: number | undefined): boolean {
  try {
    process.kill(pid ?? 0, 0)
    return true
  } catch {
    return false
  }
}

/** @returns the client's port: another one is another connection. */
function ask(agent: Agent): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request(sealgate.url(), { agent, servername: 'localhost' }, (response) => {
      const port = response.socket.localPort ?? 0
      response.resume().on('end', () => resolve(port))
    })
    asked.on('error', reject).end()
  })
}

function askHttp2(session: ReturnType<typeof connectHttp2>): Promise<string> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':path': '/' })
    let body = ''
    stream.setEncoding('utf8').on('data', (text: string) => {
      body += text
    })
    stream.on('end', () => resolve(body)).on('error', reject)
  })
}
