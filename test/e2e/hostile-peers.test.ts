/**
 * Peers that do not speak TLS, or speak it badly, slowly or not to the end: each gets an alert, an answer or nothing,
 * and leaves one line in the log with the reason. A well-behaved client beside them is served all the time.
 */

import { connect, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { readAll } from '../integration/proxy/support/clients.ts'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { clientHello } from '../support/client-hello.ts'
import { PATIENCE } from '../support/patience.ts'
import { type LogLine, type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl, runTool, sClient } from '../support/tools.ts'

const HANDSHAKE_TIMEOUT_MS = 4_000

let site: Site
let upstream: TestUpstream
let sealgate: Sealgate
let failedBefore = 0

beforeAll(async () => {
  site = new Site()
  upstream = await startUpstream((_request, response) => response.end('served'))
  const tls = { handshake_timeout: `${HANDSHAKE_TIMEOUT_MS}ms` }
  sealgate = await startSealgate({ config: site.config([upstream.port], { tls }) })
})

afterEach(async () => {
  expect(await curl('--cacert', site.ca, sealgate.url())).toMatchObject({ status: 0, stdout: 'served' })
  failedBefore = failures().length
})

afterAll(async () => {
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

test('plaintext HTTP is answered with 400 and a hint', async () => {
  const reply = await curl('--include', `http://localhost:${sealgate.port()}/`)

  expect(reply.stdout).toContain('HTTP/1.1 400 Bad Request')
  expect(reply.stdout).toContain('This port speaks HTTPS (TLS).')
  expect(await oneFailure()).toMatchObject({ reason: 'http request' })
})

test.each([
  ['garbage', Buffer.from('\x00garbage that is no TLS record, and some more of it')],
  ['an SSH banner', Buffer.from('SSH-2.0-OpenSSH_9.2\r\n')],
  ['a record that claims more than a record may hold', Buffer.from('160301ffff01', 'hex')],
  ['a handshake message that is no ClientHello', Buffer.from('160301000402000000', 'hex')],
  ['an empty ClientHello', Buffer.from('160301000401000000', 'hex')],
  ['application data before any handshake', Buffer.from('170303000568656c6c6f', 'hex')],
])('%s ends the connection at once', async (_what, bytes) => {
  const { durationMs } = await send(bytes)

  expect(durationMs).toBeLessThan(HANDSHAKE_TIMEOUT_MS)
  expect((await oneFailure())['reason']).not.toBe('timeout')
})

test('a ClientHello that claims 16 MB is refused before it has arrived', async () => {
  const claim = Buffer.from('160301400001ffffff0303', 'hex')
  const records = Array.from({ length: 64 }, () =>
    Buffer.concat([Buffer.from('1603014000', 'hex'), Buffer.alloc(0x4000)]),
  )

  await send(Buffer.concat([claim, Buffer.alloc(0x4000 - 6), ...records]))

  expect((await oneFailure())['reason']).toMatch(/excessive message size|length/)
})

test('a ClientHello that comes byte by byte is served like any other', async () => {
  const socket = connect(sealgate.port(), '127.0.0.1').setNoDelay()
  const reply = firstBytes(socket)
  for (const byte of clientHello('localhost')) {
    socket.write(Buffer.of(byte))
    await new Promise((resolve) => setImmediate(resolve)) // in a packet of its own
  }

  const [type, major, , , , message] = await reply
  expect({ type, major, message }).toEqual({ type: RECORD_HANDSHAKE, major: 3, message: SERVER_HELLO })
  socket.destroy()
  await oneFailure()
})

test.each([
  ['that says nothing', Buffer.alloc(0)],
  ['that stops in the middle of its ClientHello', clientHello('localhost').subarray(0, 50)],
  ['that stops after its ClientHello', clientHello('localhost')],
])('a peer %s is closed after handshake_timeout', async (_what, bytes) => {
  const { durationMs } = await send(bytes)

  expect(durationMs).toBeGreaterThanOrEqual(HANDSHAKE_TIMEOUT_MS - 50)
  expect(durationMs).toBeLessThan(HANDSHAKE_TIMEOUT_MS * 5)
  expect(await oneFailure()).toMatchObject({ reason: 'timeout', peer: '127.0.0.1' })
})

test('a peer that leaves while its signature is made is forgotten', async () => {
  const before = await handshakesFailed()
  for (let peer = 0; peer < 50; peer++) {
    const socket = connect(sealgate.port(), '127.0.0.1', () => {
      socket.write(clientHello('localhost'), () => socket.resetAndDestroy())
    })
  }

  // The log has some of them in full, and later the number of the others.
  await vi.waitFor(async () => expect((await handshakesFailed()) - before).toBe(50), PATIENCE)
})

test('renegotiation is refused', async () => {
  // A line with `R` is s_client's command for it; without -ign_eof it takes commands.
  const { stderr } = await runTool(
    'openssl',
    ['s_client', '-connect', `127.0.0.1:${sealgate.port()}`, '-tls1_2', '-CAfile', site.ca],
    { input: 'R\n' },
  )

  expect(stderr).toContain('RENEGOTIATING')
  expect(stderr).toContain('no renegotiation')
})

test('a client that does not trust the certificate leaves its alert in the log', async () => {
  await curl(sealgate.url())

  expect((await oneFailure())['reason']).toMatch(/unknown ca/)
})

test('1,000 silent connections do not keep a client waiting, and all end', async () => {
  const sockets = Array.from({ length: 1000 }, () =>
    connect(sealgate.port(), '127.0.0.1').on('error', () => {}),
  )
  await vi.waitFor(async () => {
    const waiting = (await sealgate.metrics()).sum('sealgate_connections_open', { state: 'handshaking' })
    expect(waiting).toBeGreaterThan(500)
  }, PATIENCE)
  const { stdout } = await sClient(sealgate.port(), ['-CAfile', site.ca])

  expect(stdout).toContain('served')
  await vi.waitFor(() => expect(sockets.every(({ destroyed }) => destroyed)).toBe(true), { timeout: 10_000 })
  await sealgate.untilAtRest()
})

/** Sends and waits until the connection is closed. */
async function send(bytes: Buffer): Promise<{ text: string; durationMs: number }> {
  const startedAtMs = performance.now()
  const socket = connect(sealgate.port(), '127.0.0.1')
  socket.write(bytes)
  const { text } = await readAll(socket)
  return { text, durationMs: performance.now() - startedAtMs }
}

function firstBytes(socket: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    socket.once('data', resolve).once('error', reject)
    socket.once('close', () => reject(new Error('closed without an answer')))
  })
}

async function handshakesFailed(): Promise<number> {
  return (await sealgate.metrics()).sum('sealgate_handshakes_total', { result: 'failed' })
}

function failures(): LogLine[] {
  return sealgate.lines.filter(({ msg }) => msg === 'handshake failed')
}

/** The one line that this test has left. */
async function oneFailure(): Promise<LogLine> {
  await vi.waitFor(() => expect(failures().length).toBeGreaterThan(failedBefore), PATIENCE)
  const [line, ...more] = failures().slice(failedBefore)
  expect(more).toEqual([])
  return line ?? { level: 'none' }
}

/** RFC 8446 §5.1 and §4. */
const RECORD_HANDSHAKE = 22
const SERVER_HELLO = 2
