/**
 * What is under way when the configuration changes: handshakes that wait for a slow HSM, requests on open connections, an
 * HSM that is away, client CAs, tcp connections, and a proxy that waits for its first HSM.
 */

import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  constants,
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import { Agent, request } from 'node:https'
import { connect as connectTcp, createServer as createTcpServer } from 'node:net'
import { basename, join } from 'node:path'
import { connect, type TLSSocket } from 'node:tls'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { listen, port } from '../integration/proxy/support/front-server.ts'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { ClientCa, type ClientCertificate } from '../support/client-ca.ts'
import { Faults } from '../support/p11-faults.ts'
import { Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site, type SiteCertificate } from '../support/site.ts'
import { curl, runTool, sClient, shownCertificate } from '../support/tools.ts'

// Old hosts linger for the longest handshake and signature, and each test sees them go.
vi.setConfig({ testTimeout: 90_000 })

const KEPT = 'not reloaded: the old configuration goes on'

let site: Site
let faults: Faults
let one: TestUpstream
let two: TestUpstream
let sealgate: Sealgate

beforeAll(async () => {
  site = new Site()
  faults = new Faults(site.softHsm, 'hsm-a')
  one = await startUpstream((_request, response) => response.end('one'))
  two = await startUpstream((_request, response) => response.end('two'))
})

afterEach(async () => {
  faults.clear()
  await until(async () => (await sealgate.status()).reload?.lingeringHosts === 0)
  await sealgate.finish()
})

afterAll(async () => {
  await one?.[Symbol.asyncDispose]()
  await two?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

test('a handshake that waits for a signature during a swap ends with the certificate and key that it began with', async () => {
  const old = site.certificate({ names: ['localhost'] })
  const next = site.certificate({ names: ['localhost'], type: 'rsa:2048' })
  // Long enough for a reload on a busy machine, and not half of the deadline, when a host that answers nothing is
  // replaced; the new host has no faults in front of it.
  const slow = { tls: { handshake_timeout: '17s' }, signing: { timeout: '16s' } }
  sealgate = await startSealgate({ config: config({ certificates: [old], ...slow }) })
  const before = await serial()
  faults.set('C_Sign delay 6000000')
  const suspended = handshake()
  await until(async () => (await signing()) === 1)

  const hsms = { 'hsm-a': site.member() }
  const line = await sealgate.reload(config({ certificates: [next], hsms, ...slow }))
  expect(line).toMatchObject({ msg: 'reloaded', newHosts: ['hsm-a'] })
  expect(await signing()).toBe(1)
  const during = await handshake()

  expect((await suspended).serial).toBe(before)
  expect(during.serial).not.toBe(before)
  expect(await failed()).toBe(0)
})

test('a ClientHello that a swap cuts in two is answered with one certificate and its key', async () => {
  const old = site.certificate({ names: ['localhost'] })
  const next = site.certificate({ names: ['localhost'], type: 'rsa:2048' })
  sealgate = await startSealgate({ config: config({ certificates: [old] }) })
  const before = await serial()
  await using splitter = await startSplitter(sealgate.port())
  // Without a server name the certificate is chosen with the first byte, and signed for after the last.
  const [cut, named] = [
    handshake({ through: splitter.port, servername: '' }),
    handshake({ through: splitter.port }),
  ]
  await until(async () => splitter.held === 2)

  expect(await sealgate.reload(config({ certificates: [next] }))).toMatchObject({ msg: 'reloaded' })
  splitter.release()

  expect((await cut).serial).toBe(before)
  expect((await named).serial).not.toBe('')
  expect(await serial()).not.toBe(before)
  expect(await failed()).toBe(0)
})

test('routes and servers change between two requests of a connection', async () => {
  const certificates = [site.certificate({ names: ['localhost'] })]
  sealgate = await startSealgate({ config: config({ certificates }) })
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: readFileSync(site.ca) })
  const first = await ask(agent, '/')
  expect(first.body).toBe('one')

  await sealgate.reload(config({ certificates, upstreams: { app: { servers: [url(two)] } } }))
  expect(await ask(agent, '/')).toEqual({ ...first, body: 'two' })

  const routes = [{ match: { path: '/one' }, upstream: 'first' }, { upstream: 'app' }]
  const listeners = [{ name: 'web', address: '127.0.0.1:0', protocol: 'http', routes }]
  const upstreams = { app: { servers: [url(two)] }, first: { servers: [url(one)] } }
  const line = await sealgate.reload(config({ certificates, upstreams, listeners }))
  expect(line).toMatchObject({ msg: 'reloaded', changed: ['listeners', 'upstreams'], newHosts: [] })
  expect(await ask(agent, '/one')).toEqual({ ...first, body: 'one' })
  expect(await ask(agent, '/')).toEqual({ ...first, body: 'two' })
  agent.destroy()
})

test('a request under way ends at the server that it began at', async () => {
  const slow = createServer((_request, response) => {
    response.write('begun ')
    finish = () => response.end('ended')
  })
  let finish = (): void => {}
  await listen(slow)
  const certificates = [site.certificate({ names: ['localhost'] })]
  const before = { app: { servers: [`http://127.0.0.1:${port(slow)}`] } }
  sealgate = await startSealgate({ config: config({ certificates, upstreams: before }) })
  let seen = ''
  const args = ['--no-buffer', '--cacert', site.ca, sealgate.url()]
  const answer = runTool('curl', ['--silent', ...args], {
    onOutput: (stdout) => {
      seen = stdout
    },
  })
  await expect.poll(() => seen).toBe('begun ')

  await sealgate.reload(config({ certificates }))
  expect((await curl('--cacert', site.ca, sealgate.url())).stdout).toBe('one')
  finish()

  expect((await answer).stdout).toBe('begun ended')
  slow.closeAllConnections()
  slow.close()
})

test('while the HSM is away, a renewal and routes change; a new key is refused', async () => {
  const current = site.certificate({ names: ['localhost'] })
  const other = site.certificate({ names: ['localhost'] })
  sealgate = await startSealgate({ config: config({ certificates: [current] }) })
  const session = join(site.directory, 'away.session')
  const args = ['-tls1_3', '-servername', 'localhost', '-CAfile', site.ca]
  await sClient(sealgate.port(), [...args, '-sess_out', session])
  faults.set('* rv CKR_DEVICE_REMOVED')
  await sClient(sealgate.port(), args)

  copyFileSync(renewed(current), current.chain)
  const upstreams = { app: { servers: [url(two)] } }
  expect(await sealgate.reload(config({ certificates: [current], upstreams }))).toMatchObject({
    msg: 'reloaded',
  })
  const resumed = await sClient(sealgate.port(), [...args, '-sess_in', session])
  expect(resumed.stdout).toMatch(/^Reused/m)
  expect(resumed.stdout).toMatch(/^two/m)
  expect(await sealgate.reload(config({ certificates: [other], upstreams }))).toMatchObject({ msg: KEPT })

  faults.clear()
  await until(async () => (await sealgate.status()).hsms[0]?.state === 'up')
  expect((await curl('--cacert', site.ca, sealgate.url())).stdout).toBe('two')
})

test('client CAs change with a HUP and with their file', async () => {
  const [ours, theirs] = ['ours', 'theirs'].map((name) => new ClientCa(site.directory, name))
  if (ours === undefined || theirs === undefined) throw new Error('two CAs were wanted')
  const [ann, bob] = [ours.issue('ann', { names: 'DNS:ann' }), theirs.issue('bob', { names: 'DNS:bob' })]
  const certificates = [site.certificate({ names: ['localhost'] })]
  const bundle = join(site.directory, 'bundle.pem')
  copyFileSync(ours.certificate, bundle)
  const asking = (ca: string) => {
    const client_certificate = { mode: 'require', ca }
    const listener = {
      name: 'web',
      address: '127.0.0.1:0',
      protocol: 'http',
      upstream: 'app',
      client_certificate,
    }
    return config({ certificates, listeners: [listener], reload: { interval: '100ms' } })
  }
  const served = async ({ certificate, key }: ClientCertificate) => {
    const { stdout } = await curl('--cacert', site.ca, '--cert', certificate, '--key', key, sealgate.url())
    return stdout === 'one'
  }
  sealgate = await startSealgate({ config: asking(bundle) })
  expect([await served(ann), await served(bob)]).toEqual([true, false])

  await sealgate.reload(asking(theirs.certificate))
  expect([await served(ann), await served(bob)]).toEqual([false, true])

  await sealgate.reload(asking(bundle))
  writeFileSync(bundle, readFileSync(ours.certificate, 'latin1') + readFileSync(theirs.certificate, 'latin1'))
  await sealgate.logged('client CAs and revocation lists reloaded')
  expect([await served(ann), await served(bob)]).toEqual([true, true])
  expect((await sealgate.status()).reload.last).toMatchObject({ cause: 'client CAs', result: 'ok' })

  writeFileSync(bundle, 'nothing')
  await expect
    .poll(async () => (await sealgate.status()).reload.last)
    .toMatchObject({ cause: 'client CAs', result: 'refused' })
  expect([await served(ann), await served(bob)]).toEqual([true, true])
})

test('tcp: an open connection goes on, the next one goes to the new server', async () => {
  const echo = (text: string) => createTcpServer((socket) => socket.on('data', () => socket.write(text)))
  const [left, right] = [echo('left'), echo('right')]
  await Promise.all([listen(left), listen(right)])
  const certificates = [site.certificate({ names: ['localhost'] })]
  const listeners = [{ name: 'db', address: '127.0.0.1:0', protocol: 'tcp', upstream: 'db' }]
  const to = (server: typeof left) =>
    config({ certificates, listeners, upstreams: { db: { servers: [`tcp://127.0.0.1:${port(server)}`] } } })
  sealgate = await startSealgate({ config: to(left) })
  const open = await tlsConnection()
  expect(await exchange(open)).toBe('left')

  expect(await sealgate.reload(to(right))).toMatchObject({ msg: 'reloaded' })
  const fresh = await tlsConnection()

  expect(await exchange(open)).toBe('left')
  expect(await exchange(fresh)).toBe('right')
  for (const socket of [open, fresh]) socket.destroy()
  for (const server of [left, right]) server.close()
})

test('HUP while the configuration is read for the first time is a reload after the start, and not the end', async () => {
  const state = config({ certificates: [site.certificate({ names: ['localhost'] })] })
  sealgate = new Sealgate({ config: state })
  // What reads a FIFO waits for what is written: here it waits while HUP comes.
  const fifo = `${sealgate.file}.fifo`
  execFileSync('mkfifo', [fifo])
  renameSync(fifo, sealgate.file)
  const fd = await vi.waitUntil(() => openedByReader(sealgate.file), { timeout: 20_000, interval: 5 })
  sealgate.configure(state)
  sealgate.signal('SIGHUP')
  writeFileSync(fd, JSON.stringify(state))
  closeSync(fd)

  await sealgate.logged('ready', 20_000)
  sealgate.markStarted()
  expect(await sealgate.reloadEnds(0)).toMatchObject({ msg: 'reloaded', cause: 'HUP' })
})

/** To be written to; undefined while nobody reads. */
function openedByReader(fifo: string): number | undefined {
  try {
    return openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK)
  } catch {
    return undefined
  }
}

test('a mounted Kubernetes Secret is taken up when its links move', async () => {
  const current = site.certificate({ names: ['localhost'] })
  const mount = join(site.directory, 'secret')
  const volume = (name: string, chain: string) => {
    mkdirSync(join(mount, name), { recursive: true })
    copyFileSync(chain, join(mount, name, 'tls.crt'))
  }
  volume('..1', current.chain)
  symlinkSync('..1', join(mount, '..data'))
  symlinkSync(join('..data', 'tls.crt'), join(mount, 'tls.crt'))
  const certificates = [{ ...current, chain: join(mount, 'tls.crt') }]
  sealgate = await startSealgate({ config: config({ certificates, reload: { interval: '100ms' } }) })
  const before = await serial()

  volume('..2', renewed(current))
  symlinkSync('..2', join(mount, '..data_tmp'))
  renameSync(join(mount, '..data_tmp'), join(mount, '..data'))
  rmSync(join(mount, '..1'), { recursive: true })

  expect(await sealgate.reloadEnds(0)).toMatchObject({ msg: 'reloaded', cause: 'files' })
  expect(await serial()).not.toBe(before)
})

test('a proxy that waits for its first HSM takes up what cures it', async () => {
  const certificates = [site.certificate({ names: ['localhost'] })]
  const lost = { ...site.member(), token: 'not there' }
  sealgate = new Sealgate({ config: config({ certificates, hsms: { 'hsm-a': lost } }) })
  await sealgate.logged('waiting for an HSM', 20_000)

  expect(await sealgate.reload(config({ certificates }))).toMatchObject({
    msg: 'reloaded',
    newHosts: ['hsm-a'],
  })

  await sealgate.logged('ready')
  sealgate.markStarted()
  expect((await curl('--cacert', site.ca, sealgate.url())).stdout).toBe('one')
})

test('the audit log is signed on through a change of its HSM', async () => {
  const audit = join(site.directory, 'audit.jsonl')
  const label = 'checkpoints'
  const spki = site.token.generateKey({ label, id: 'c0', type: 'EC:prime256v1' })
  const { chain } = site.certificateFor({ label, spki })
  const checkpoint = {
    key: { uri: `pkcs11:object=${label}`, hsms: ['hsm-a'] },
    public_key: chain,
    every: '100ms',
  }
  const state = (certificates: readonly SiteCertificate[]) =>
    config({
      certificates,
      tls: { handshake_timeout: '1s' },
      signing: { timeout: '1s' },
      audit: { file: audit, checkpoint },
    })
  const [before, after] = [
    site.certificate({ names: ['localhost'] }),
    site.certificate({ names: ['localhost'] }),
  ]
  sealgate = await startSealgate({ config: state([before]) })
  const checkpoints = async () =>
    (await sealgate.metrics()).sum('sealgate_audit_checkpoints_total', { result: 'ok' })

  expect(await sealgate.reload(state([after]))).toMatchObject({ msg: 'reloaded', newHosts: ['hsm-a'] })
  await until(async () => (await sealgate.status()).reload.lingeringHosts === 0)
  const signed = await checkpoints()
  expect((await curl('--cacert', site.ca, sealgate.url())).stdout).toBe('one')

  await until(async () => (await checkpoints()) > signed)
  expect((await sealgate.metrics()).sum('sealgate_audit_checkpoints_total')).toBe(await checkpoints())
})

function config(overrides: object): object {
  const member = { ...site.member(), module: faults.options.module, env: faults.env }
  return site.config([one.port], {
    hsms: { 'hsm-a': member },
    tls: { handshake_timeout: '4s' },
    signing: { timeout: '3s' },
    threads: { tls: 2, http: 2 },
    ...overrides,
  })
}

function url(upstream: TestUpstream): string {
  return `http://127.0.0.1:${upstream.port}`
}

/** The chain file of another certificate for the same key. */
function renewed({ key }: SiteCertificate): string {
  const label = /object=([^;]+)/.exec(key.uri)?.[1] ?? basename(key.uri)
  return site.certificateFor({ label, spki: site.token.spki(label), names: ['localhost'] }).chain
}

function serial(): Promise<string> {
  return shownCertificate(sealgate.port(), { serverName: 'localhost' }, '-serial').then((text) =>
    text.replace('serial=', ''),
  )
}

/** Full; OpenSSL in this process verifies chain and signature. */
async function handshake(options: ConnectionOptions = {}): Promise<{ readonly serial: string }> {
  const socket = await tlsConnection(options)
  const { serialNumber } = socket.getPeerCertificate()
  // Not destroyed: the last of the handshake may still be on its way.
  const closed = once(socket, 'close')
  socket.end().resume()
  await closed
  return { serial: serialNumber }
}

interface ConnectionOptions {
  /** Port; the proxy's own unless there is something between. */
  readonly through?: number
  readonly servername?: string
}

function tlsConnection({
  through = sealgate.port(),
  servername = 'localhost',
}: ConnectionOptions = {}): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const name = servername === '' ? { checkServerIdentity: () => undefined } : { servername }
    const options = { port: through, host: '127.0.0.1', ca: readFileSync(site.ca), ...name }
    const socket = connect(options, () => resolve(socket))
    socket.on('error', reject)
  })
}

/** Lets the first bytes of each client through, and the rest when it is told to. */
async function startSplitter(target: number) {
  const waiting: (() => void)[] = []
  const server = createTcpServer((client) => {
    const proxied = connectTcp(target, '127.0.0.1')
    for (const socket of [client, proxied]) socket.on('error', () => {})
    proxied.pipe(client)
    client.once('data', (hello) => {
      client.pause()
      proxied.write(hello.subarray(0, FIRST_BYTES))
      waiting.push(() => {
        proxied.write(hello.subarray(FIRST_BYTES))
        client.pipe(proxied)
      })
    })
  })
  await listen(server)
  return {
    port: port(server),
    get held() {
      return waiting.length
    },
    release() {
      for (const goOn of waiting.splice(0)) goOn()
    },
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const FIRST_BYTES = 50

async function signing(): Promise<number> {
  return (await sealgate.metrics()).sum('sealgate_handshakes_signing')
}

async function failed(): Promise<number> {
  return (await sealgate.metrics()).sum('sealgate_handshakes_total', { result: 'failed' })
}

async function until(check: () => Promise<boolean>): Promise<void> {
  await vi.waitUntil(check, { timeout: 30_000, interval: 20 })
}

function exchange(socket: TLSSocket): Promise<string> {
  return new Promise((resolve, reject) => {
    socket.once('data', (data) => resolve(data.toString('latin1'))).once('error', reject)
    socket.write('?')
  })
}

/** @returns the answer, and the client's port: another one is another connection. */
function ask(agent: Agent, path: string): Promise<{ readonly body: string; readonly from: number }> {
  return new Promise((resolve, reject) => {
    const asked = request(sealgate.url(path), { agent, servername: 'localhost' }, (response) => {
      const from = response.socket.localPort ?? 0
      let body = ''
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text
      })
      response.on('end', () => resolve({ body, from }))
    })
    asked.on('error', reject).end()
  })
}
