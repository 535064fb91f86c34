/**
 * Peers that go away in the middle, by the hundred, and ones that never stop asking: what they had is given back. Gauges go
 * to zero, descriptors are as many as before, and a second crowd takes no more memory than the first one.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { clientHello } from '../support/client-hello.ts'
import { Faults } from '../support/p11-faults.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl } from '../support/tools.ts'

const PEERS = 500
/** Of the allocator's and V8's habits; 500 handshakes that were never given back would be some 15 MB. */
const SLACK_MB = 8

let site: Site
let faults: Faults
let upstream: TestUpstream
let sealgate: Sealgate

beforeAll(async () => {
  site = new Site()
  faults = new Faults(site.softHsm, 'slow')
  upstream = await startUpstream((_request, response) => response.end('served'))
  const hsms = { 'hsm-a': { ...site.member(), ...faults.options } }
  const signing = { timeout: '30s', queue: 4 * PEERS }
  // V8 lets garbage lie where there is room: in a small heap, what goes on growing is a leak.
  const env = { ...process.env, NODE_OPTIONS: '--max-semi-space-size=1 --max-old-space-size=48' }
  sealgate = await startSealgate({ env, config: site.config([upstream.port], { hsms, signing }) })
})

afterAll(async () => {
  faults.clear()
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

test.each([
  ['in the middle of their ClientHello', 60, false],
  ['while their signature is made', Number.POSITIVE_INFINITY, true],
  ['when it is their turn to finish', Number.POSITIVE_INFINITY, false],
])(
  `${PEERS} peers that leave %s leave nothing behind`,
  async (_when, bytes, signing) => {
    // Warm: what the first crowd makes the process grow by is kept for the next one.
    await crowd(bytes, signing)
    await crowd(bytes, signing)
    const before = residentMb()

    await crowd(bytes, signing)

    // A TLS thread tidies up a second after a burst.
    await vi.waitFor(() => expect(residentMb() - before).toBeLessThan(SLACK_MB), PATIENCE)
    expect(await curl('--cacert', site.ca, sealgate.url())).toMatchObject({ status: 0, stdout: 'served' })
  },
  120_000,
)

test('a signature that nobody waits for any more is not made', async () => {
  const before = faults.calls('C_Sign')

  await crowd(Number.POSITIVE_INFINITY, true)

  // What the sessions had begun, and little more.
  expect(faults.calls('C_Sign') - before).toBeLessThan(PEERS / 10)
})

test('a peer that asks for new keys without end is cut off, others are served, and nothing is left', async () => {
  const client = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${sealgate.port()}`, '-tls1_3'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  client.stdout.resume()
  client.stdin.on('error', () => {})
  const ended = once(client, 'close')
  let gone = false
  void ended.then(() => {
    gone = true
  })
  // `K` is s_client's command for a KeyUpdate that demands one in return; it looks at the first letter of each read.
  const giveUpMs = performance.now() + 20_000
  while (!gone && performance.now() < giveUpMs) {
    client.stdin.write('K\n')
    await delay(10) // for the pace of s_client
  }
  client.kill('SIGKILL')

  expect(gone).toBe(true)
  expect(await curl('--cacert', site.ca, sealgate.url())).toMatchObject({ status: 0, stdout: 'served' })
  await sealgate.untilAtRest()
})

/** All arrive, say so many bytes of a ClientHello, and leave: half of them with a FIN, half with a reset. */
async function crowd(bytes: number, signing: boolean): Promise<void> {
  const failedBefore = await failed()
  // Nobody is answered before all have come.
  if (signing) faults.set('C_Sign delay 5000000')
  const hello = clientHello('localhost')
  const peers = await Promise.all(Array.from({ length: PEERS }, () => arrive(hello.subarray(0, bytes))))
  await vi.waitFor(async () => expect(await atTheirPlace(signing)).toBe(PEERS), PATIENCE)
  if (bytes > hello.length && !signing) await Promise.all(peers.map(answered))
  for (const [index, peer] of peers.entries()) {
    if (index % 2 === 0) peer.destroy()
    else peer.resetAndDestroy()
  }
  faults.clear()
  await vi.waitFor(async () => expect((await failed()) - failedBefore).toBe(PEERS), PATIENCE)
  await sealgate.untilAtRest(60_000)
}

/** Handshakes that have come as far as they shall. */
async function atTheirPlace(signing: boolean): Promise<number> {
  const metrics = await sealgate.metrics()
  return signing
    ? metrics.sum('sealgate_handshakes_signing')
    : metrics.sum('sealgate_connections_open', { state: 'handshaking' })
}

async function arrive(bytes: Buffer): Promise<Socket> {
  const socket = connect(sealgate.port(), '127.0.0.1').on('error', () => {})
  await once(socket, 'connect')
  socket.write(bytes)
  return socket
}

/** The server's flight is there, its signature in it. */
async function answered(socket: Socket): Promise<void> {
  if (socket.bytesRead === 0) await once(socket, 'data')
}

async function failed(): Promise<number> {
  return (await sealgate.metrics()).sum('sealgate_handshakes_total', { result: 'failed' })
}

function residentMb(): number {
  const [, kilobytes] =
    /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${sealgate.pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) / 1024
}

const PATIENCE = { timeout: 60_000, interval: 50 }
