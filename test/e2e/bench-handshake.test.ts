/** `sealgate bench handshake` against a running proxy: counts add up, the HSM's share is told, and a stall cannot hide. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { HandshakeReport } from '../../src/bench/handshake/report.ts'
import { nodeUnderTest } from '../support/npm-start.ts'
import { Faults } from '../support/p11-faults.ts'
import { descendants } from '../support/process-tree.ts'
import { program, type Sealgate, sealgateCommand, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'

let site: Site
let faults: Faults
let sealgate: Sealgate

beforeAll(async () => {
  site = new Site()
  faults = new Faults(site.softHsm, 'hsm-a')
  const hsms = { 'hsm-a': { ...site.member(), ...faults.options } }
  sealgate = await startSealgate({ config: site.config([9], { hsms }) })
})

afterAll(async () => {
  faults?.clear()
  await sealgate?.finish()
  site?.[Symbol.dispose]()
})

test.each(['1.2', '1.3'])(
  'TLS %s: full and resumed handshakes in the wanted share, closed loop',
  async (tls) => {
    const report = await measured('--connections', '8', '--resumed', '0.75', '--tls', tls)

    const { full, resumed, errors, notResumed, generator, server, hsm } = report
    expect({ errors, notResumed }).toEqual({ errors: {}, notResumed: 0 })
    const all = full.handshakes + resumed.handshakes
    expect(all).toBeGreaterThan(20)
    expect(resumed.handshakes / all).toBeGreaterThan(0.65)
    expect(resumed.handshakes / all).toBeLessThan(0.85)
    for (const { latencyMs } of [full, resumed]) {
      expect(latencyMs.p50).toBeGreaterThan(0)
      expect(latencyMs.p50).toBeLessThanOrEqual(latencyMs.max)
    }
    // Full handshakes are signed for, resumed ones are not; a few are on their way at both ends of the window.
    expect(Math.abs((hsm?.signatures ?? 0) - full.handshakes)).toBeLessThanOrEqual(16 + full.handshakes * 0.2)
    expect(generator.cpuMicrosPerHandshake).toBeGreaterThan(50)
    expect(server?.cpuMicrosPerHandshake).toBeGreaterThan(50)
  },
)

// Who closes first keeps the port for a minute (TIME_WAIT), unless it resets.
test.each(['1.2', '1.3'])(
  'TLS %s: with --reset no port is kept, and no handshake has failed on either side',
  async (tls) => {
    const failed = async () =>
      (await sealgate.metrics()).sum('sealgate_handshakes_total', { result: 'failed' })
    const failedBefore = await failed()
    const keptBefore = await portsKept()

    const report = await measured('--connections', '8', '--resumed', '0.5', '--tls', tls, '--reset')
    const kept = await portsKept()
    await measured('--connections', '8', '--tls', tls)

    expect(report.errors).toEqual({})
    expect(report.full.handshakes + report.resumed.handshakes).toBeGreaterThan(20)
    expect(await failed()).toBe(failedBefore)
    // The handshake that finds out whether there is anybody is not among those of the load, but ends as they do.
    expect(kept.least).toBeLessThanOrEqual(keptBefore.most)
    expect((await portsKept()).least).toBeGreaterThan(kept.most + 20)
  },
)

test('--alpn offers its protocols, and one that the server has not is an error with its cure', async () => {
  expect((await measured('--connections', '2', '--alpn', 'h2,http/1.1')).errors).toEqual({})

  const { status, stderr } = await bench('--connections', '2', '--alpn', 'smtp')
  expect(stderr).toMatch(/no application protocol.*; the server does not know that protocol: --alpn/)
  expect(status).toBe(69)
})

test('an open loop begins as many as its rate says, and each of them is counted', async () => {
  const report = await measured('--rate', '40/s', '--seconds', '2', '--processes', '2')

  const failed = Object.values(report.errors).reduce((sum, count) => sum + count, 0)
  const begun = report.full.handshakes + report.resumed.handshakes + failed + report.generator.skipped
  expect(begun).toBeGreaterThanOrEqual(79)
  expect(begun).toBeLessThanOrEqual(81)
  expect(report.generator.lateStartP99Ms).not.toBeNull()
})

test('what an HSM adds to a handshake is found in its share', async () => {
  faults.set('C_Sign delay 30000')
  const report = await measured('--rate', '20/s', '--seconds', '1.5')
  faults.clear()

  expect(report.hsm?.signMs).toBeGreaterThan(30)
  expect(report.full.latencyMs.mean).toBeGreaterThan(report.hsm?.signMs ?? 0)
})

test('handshakes that should have begun while the server stood still count from when they should have', async () => {
  const handshakes = async () => (await sealgate.metrics()).sum('sealgate_handshakes_total')
  const before = await handshakes()
  const running = measured('--rate', '50/s', '--seconds', '4', '--warm-up', '0.2')
  // Ten of them are the warm-up.
  await vi.waitFor(async () => expect((await handshakes()) - before).toBeGreaterThan(40), {
    timeout: 20_000,
    interval: 20,
  })
  sealgate.signal('SIGSTOP')
  await delay(1000)
  sealgate.signal('SIGCONT')

  const { full } = await running

  // 1 s of 4: a quarter of the handshakes waited, half a second on average. A closed loop would have seen those that were open.
  expect(full.latencyMs.max).toBeGreaterThan(800)
  expect(full.latencyMs.p90).toBeGreaterThan(400)
})

test('the words: what the HSM took, what the CPU cost, and who was the bottleneck', async () => {
  const { status, stdout } = await bench('--connections', '4', '--seconds', '0.5')

  expect(status).toBe(0)
  expect(stdout).toMatch(/^HSM: of .* mean latency of a full handshake, .*%\) in the HSM, .* waiting/m)
  expect(stdout).toMatch(
    /^CPU per handshake: [\d,.]+ \S+s in this load generator, [\d,.]+ \S+s in the server$/m,
  )
  expect(stdout).toMatch(
    /^(?:load generator: not the bottleneck|WARNING: the load generator did not keep up)/m,
  )
})

test('an interrupt while the first handshake is made ends it as well', async () => {
  await using slow = await slowPort(sealgate.port(), 2_000)
  const args = ['--insecure', '--rate', '5/s', '--processes', '1', '--warm-up', '0.1', '--seconds', '20']
  const child = spawn(nodeUnderTest, [program, 'bench', 'handshake', `127.0.0.1:${slow.port}`, ...args])
  const began = performance.now()
  const ended = once(child, 'close')
  child.stdout.resume()
  await slow.connected

  child.kill('SIGINT')

  expect(await ended).toEqual([130, null])
  expect(performance.now() - began).toBeLessThan(15_000)
})

test('a client process that is killed is said to be, and there are no more of them than connections', async () => {
  const args = ['--insecure', '--connections', '1', '--processes', '3', '--warm-up', '0.1', '--seconds', '20']
  const target = `localhost:${sealgate.port()}`
  const child = spawn(nodeUnderTest, [program, 'bench', 'handshake', target, ...args])
  const [stdout, stderr] = [text(child.stdout), text(child.stderr)]
  const ended = once(child, 'close')
  const client = await vi.waitFor(() => {
    const [pid] = descendants(child.pid ?? 0)
    expect(pid).toBeDefined()
    return pid
  }, PATIENCE)
  await delay(500)

  process.kill(client ?? 0, 'SIGKILL')

  expect(await ended).toEqual([69, null])
  expect(await stderr).toBe(
    'a client process was ended before its time, by SIGKILL; has this machine enough memory?\n',
  )
  expect(await stdout).toContain('1 client process,')
})

test('what is wrong with the target is said, with the cure', async () => {
  const nobody = createServer().listen(0, '127.0.0.1')
  await once(nobody, 'listening')
  const address = nobody.address()
  const port = typeof address === 'object' ? address?.port : undefined
  nobody.close()
  const target = `localhost:${sealgate.port()}`
  const admin = sealgate.lines.find(({ msg }) => msg === 'admin')?.['port']
  const cases: [string[], number, RegExp][] = [
    [[`127.0.0.1:${port}`, '--insecure'], 69, /ECONNREFUSED.*; nobody listens there/],
    [[target], 69, /give its CA with --cacert FILE, or --insecure/],
    [[target, '--cacert', site.ca, '--servername', 'other.test'], 69, /--servername NAME/],
    [[`127.0.0.1:${admin}`, '--insecure'], 69, /is it a TLS port\?|socket|closed/],
    [['no-such-host.invalid:443'], 69, /there is no such host/],
    [['http://localhost:80'], 64, /is without TLS/],
    [[target, '--rate', '0'], 64, /--rate 0: give a number above 0/],
    [[target, '--rate', '5', '--connections', '5'], 64, /exclude each other/],
    [[target, '--tls', '1.1'], 64, /Allowed choices are 1\.2, 1\.3/],
    [[target, '--cacert', '/no/such.pem'], 64, /no\/such\.pem/],
    [[target, '--insecure', '--admin', `http://127.0.0.1:${port}`], 69, /--admin: .*ECONNREFUSED/],
    [[target, '--insecure', '--server-pid', '4194304'], 64, /there is no such process/],
    [[target, '--json', '/no/such/folder/a.json'], 73, /there is no such file or folder/],
  ]
  for (const [args, status, message] of cases) {
    const outcome = await sealgateCommand(['bench', 'handshake', ...args])
    expect(outcome.stderr).toMatch(message)
    expect(outcome.status).toBe(status)
    expect(outcome.stderr).not.toMatch(/^ {4}at |unexpected error/m)
  }
}, 120_000)

/** Another port of the listener, which leaves every connection alone for a while. */
async function slowPort(
  target: number,
  ms: number,
): Promise<AsyncDisposable & { readonly port: number; readonly connected: Promise<unknown> }> {
  const server = createServer((socket) => {
    const wait = setTimeout(() => socket.pipe(connect(target, '127.0.0.1')).pipe(socket), ms)
    socket.once('close', () => clearTimeout(wait)).on('error', () => {})
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    port,
    connected: once(server, 'connection'),
    [Symbol.asyncDispose]: async () => {
      server.close()
      await once(server, 'close')
    },
  }
}

async function measured(...args: readonly string[]): Promise<HandshakeReport> {
  const json = `${site.directory}/handshakes.json`
  const { status, stdout, stderr } = await bench('--seconds', '1', ...args, '--json', json)
  expect({ status, stderr, stdout }).toMatchObject({ status: 0, stderr: '' })
  return JSON.parse(readFileSync(json, 'utf8'))
}

/**
 * Connections from here to the listener in TIME_WAIT, when all that were open have come to their end. Looked at several times:
 * while other sockets come and go, /proc shows some twice and some not at all.
 */
async function portsKept(): Promise<{ readonly least: number; readonly most: number }> {
  await vi.waitFor(
    () => expect(connectionStates().filter((state) => state !== TIME_WAIT)).toEqual([]),
    PATIENCE,
  )
  const counts = Array.from({ length: LOOKS }, () => connectionStates().length)
  return { least: Math.min(...counts), most: Math.max(...counts) }
}

/** From /proc (proc(5)): addresses and states are hexadecimal. */
function connectionStates(): string[] {
  const port = sealgate.port().toString(16).toUpperCase().padStart(4, '0')
  const ours = new RegExp(`^\\s*\\d+: \\S+ \\S+:${port} (..) `, 'gm')
  return [...readFileSync('/proc/net/tcp', 'utf8').matchAll(ours)].map(([, state = '']) => state)
}

const TIME_WAIT = '06'
const LOOKS = 10
const PATIENCE = { timeout: 10_000, interval: 20 }

function bench(...args: readonly string[]): ReturnType<typeof sealgateCommand> {
  const admin = sealgate.lines.find(({ msg }) => msg === 'admin')?.['port']
  const whom = ['--admin', `http://127.0.0.1:${admin}`, '--server-pid', String(sealgate.pid)]
  const target = [`localhost:${sealgate.port()}`, '--cacert', site.ca, '--processes', '1']
  return sealgateCommand(['bench', 'handshake', ...target, ...whom, '--warm-up', '0.3', ...args])
}
