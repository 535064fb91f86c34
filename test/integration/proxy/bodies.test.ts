/**
 * Bodies: large ones both ways over both protocols, framing kept, and a slow side that makes the other wait
 * instead of filling memory. Checksums are taken at both ends.
 */

import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { expect, test, vi } from 'vitest'
import { PATIENCE } from '../../support/patience.ts'
import { curl, sendRaw } from './support/clients.ts'
import { startFront } from './support/front-server.ts'
import { startRawUpstream, startUpstream } from './support/upstreams.ts'

const MB = 1024 * 1024
const BLOCK = randomBytes(MB)

const PROTOCOLS = [
  ['--http1.1', 'http1Port'],
  ['--http2-prior-knowledge', 'http2Port'],
] as const

for (const [protocol, portName] of PROTOCOLS) {
  test(`100 MB that only the end of the connection delimits come down in flat memory (${protocol})`, async () => {
    await using upstream = await startRawUpstream((socket) => {
      socket.write('HTTP/1.0 200 OK\r\n\r\n')
      void pipeline(blocks(100), socket)
    })
    await using front = await startFront({ upstreams: { web: [upstream.port] } })
    const peak = watchMemory()

    const reply = await curl(
      ...[protocol, '--limit-rate', '60M', '-o', '/dev/null', '-w', '%{size_download}'],
      url(front[portName]),
    )

    expect(reply).toMatchObject({ exitCode: 0, stdout: String(100 * MB) })
    expect(peak.stop()).toBeLessThan(60 * MB)
  })

  test(`100 MB come down unchanged in flat memory (${protocol})`, async () => {
    await using upstream = await startUpstream((_request, response) => {
      void pipeline(blocks(100), response)
    })
    await using front = await startFront({ upstreams: { web: [upstream.port] } })
    const peak = watchMemory()

    const reply = await curl(protocol, '-o', '/dev/null', '-w', '%{size_download}', url(front[portName]))

    expect(reply).toMatchObject({ exitCode: 0, stdout: String(100 * MB) })
    expect(front.lines[0]).toMatchObject({ status: 200, bytesSent: 100 * MB })
    expect(peak.stop()).toBeLessThan(60 * MB)
  })

  test(`100 MB go up unchanged in flat memory (${protocol})`, async () => {
    const hash = createHash('sha256')
    await using upstream = await startUpstream((request, response) => {
      request.on('data', (chunk) => hash.update(chunk))
      request.on('end', () => response.end('got it'))
    })
    await using front = await startFront({ upstreams: { web: [upstream.port] } })
    const directory = await mkdtemp(join(tmpdir(), 'sealgate-'))
    const file = join(directory, 'body')
    await writeFile(file, blocks(100))
    const peak = watchMemory()

    const reply = await curl(protocol, '-H', 'Expect:', '--data-binary', `@${file}`, url(front[portName]))
    const growth = peak.stop()
    await rm(directory, { recursive: true })

    expect(reply.stdout).toBe('got it')
    expect(hash.digest('hex')).toBe(hashOf(100))
    expect(front.lines[0]).toMatchObject({ bytesReceived: 100 * MB })
    // curl reads the whole file into its own memory, not into ours.
    expect(growth).toBeLessThan(60 * MB)
  })

  test(`a client that does not read makes the upstream wait (${protocol})`, async () => {
    let written = 0
    let stalled = false
    await using upstream = await startUpstream((_request, response) => {
      writeUntilFull(response, 200, (bytes) => {
        written += bytes
        stalled = response.writableNeedDrain
      })
    })
    await using front = await startFront({ upstreams: { web: [upstream.port] } })

    // 10 kB/s: nothing, compared with what the upstream has to give.
    const slow = curl(
      protocol,
      '--limit-rate',
      '10k',
      '--max-time',
      '3',
      '-o',
      '/dev/null',
      url(front[portName]),
    )
    await vi.waitFor(() => expect(stalled).toBe(true), PATIENCE)
    const atStall = written
    await slow

    expect(written).toBeLessThan(40 * MB)
    expect(atStall).toBeGreaterThan(0)
  })
}

test('an upstream that does not read makes the client wait, until the response timeout', async () => {
  await using upstream = await startRawUpstream((socket) => socket.pause())
  await using front = await startFront({
    upstreams: { web: [upstream.port] },
    upstream: { responseTimeoutMs: 3_000 },
  })
  const client = connect(front.http1Port, '127.0.0.1')
  client.on('error', () => {})
  client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${200 * MB}\r\n\r\n`)

  let written = 0
  while (client.write(BLOCK) || (await drained(client))) written += MB

  expect(written).toBeLessThan(40 * MB)
  await vi.waitFor(() => expect(front.lines).toHaveLength(1), 10_000)
  expect(front.lines[0]).toMatchObject({ status: 504, code: 'ERR_UPSTREAM_TIMEOUT' })
  client.destroy()
})

test('a length stays a length and chunks stay chunks', async () => {
  await using upstream = await startUpstream((request, response) => {
    if (request.url === '/length') response.setHeader('content-length', 5)
    response.write('hello')
    response.end()
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] } })
  const get = (path: string, version: string) =>
    sendRaw(front.http1Port, `GET ${path} HTTP/${version}\r\nHost: a\r\nConnection: close\r\n\r\n`)

  const length = await get('/length', '1.1')
  const chunked = await get('/chunked', '1.1')
  const http10 = await get('/chunked', '1.0')

  expect(length.text.toLowerCase()).toContain('content-length: 5')
  expect(length.text.toLowerCase()).not.toContain('transfer-encoding')
  expect(chunked.text.toLowerCase()).toContain('transfer-encoding: chunked')
  expect(http10.text.toLowerCase()).not.toContain('transfer-encoding')
  expect(http10.text).toMatch(/\r\n\r\nhello$/)
})

test('HEAD, 204 and 304 have no body, and HEAD keeps the length', async () => {
  await using upstream = await startUpstream((request, response) => {
    if (request.url === '/204') response.writeHead(204).end()
    else if (request.url === '/304') response.writeHead(304, { etag: '"x"' }).end()
    else response.writeHead(200, { 'content-length': 12345 }).end()
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] } })

  for (const [protocol, portName] of PROTOCOLS) {
    const head = await curl(protocol, '--head', url(front[portName]))
    expect(head.stdout.toLowerCase()).toContain('content-length: 12345')
    for (const code of ['204', '304']) {
      const reply = await curl(protocol, '-i', `${url(front[portName])}${code}`)
      expect(reply).toMatchObject({ exitCode: 0 })
      expect(reply.stdout).toMatch(new RegExp(`^HTTP/\\S+ ${code}[\\s\\S]*\\r\\n\\r\\n$`))
      expect(reply.stdout.toLowerCase()).not.toMatch(/content-length|transfer-encoding/)
    }
  }
})

test('trailers pass, and an announced one on a response with a length is not promised', async () => {
  await using upstream = await startUpstream((request, response) => {
    if (request.url === '/length') response.writeHead(200, { 'content-length': 2 }).end('ok')
    else {
      response.writeHead(200, { trailer: 'x-sum' })
      response.write('body')
      response.addTrailers({ 'x-sum': '42' })
      response.end()
    }
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] } })

  const http1 = await sendRaw(front.http1Port, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  const http2 = await curl('--http2-prior-knowledge', '-v', url(front.http2Port))

  expect(http1.text).toMatch(/\r\n0\r\nx-sum: 42\r\n\r\n$/)
  expect(http2.stderr).toContain('x-sum: 42')
})

test('early hints pass before the response', async () => {
  await using upstream = await startUpstream((_request, response) => {
    response.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' })
    response.end('page')
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] } })

  for (const [protocol, portName] of PROTOCOLS) {
    const reply = await curl(protocol, '-i', url(front[portName]))
    expect(reply.stdout).toMatch(/^HTTP\/\S+ 103[\s\S]*link: <\/style\.css>[\s\S]*HTTP\/\S+ 200[\s\S]*page$/i)
  }
})

test('a client that expects 100 gets it when a server takes the request, and not before', async () => {
  await using upstream = await startUpstream((request, response) => request.pipe(response))
  await using front = await startFront({
    upstreams: { web: [upstream.port] },
    routes: [{ host: undefined, path: '/served', upstream: 'web' }],
  })
  const post = (path: string) =>
    curl(
      '-i',
      '-H',
      'Expect: 100-continue',
      '--expect100-timeout',
      '20',
      '-d',
      'x',
      `${url(front.http1Port)}${path}`,
    )

  expect((await post('served')).stdout).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 [\s\S]*x$/)
  expect((await post('nowhere')).stdout).toMatch(/^HTTP\/1\.1 404/)
  expect(upstream.requests[0]?.headers).not.toHaveProperty('expect')
})

test('a response that comes before the body has ended reaches the client, which can go on', async () => {
  await using upstream = await startUpstream((request, response) => {
    if (request.method === 'POST') response.writeHead(413, { connection: 'close' }).end('too large')
    else response.end('next')
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] } })

  const body = 'x'.repeat(100_000)
  const bytes =
    `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}` +
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
  const reply = await sendRaw(front.http1Port, bytes)

  expect(reply.text).toMatch(/^HTTP\/1\.1 413 [\s\S]*HTTP\/1\.1 200 [\s\S]*next$/)
})

const url = (port: number): string => `http://127.0.0.1:${port}/`

function blocks(count: number): Readable {
  return Readable.from(
    (function* () {
      for (let i = 0; i < count; i++) yield BLOCK
    })(),
  )
}

function hashOf(count: number): string {
  const hash = createHash('sha256')
  for (let i = 0; i < count; i++) hash.update(BLOCK)
  return hash.digest('hex')
}

/** Writes for as long as somebody takes it. */
function writeUntilFull(response: ServerResponse, count: number, on: (bytes: number) => void): void {
  let left = count
  const more = (): void => {
    while (left > 0) {
      left -= 1
      const room = response.write(BLOCK)
      on(BLOCK.length)
      if (!room) break
    }
    if (left === 0) response.end()
    else response.once('drain', more)
  }
  more()
}

/** false when nothing drains for a while: the other side does not read. */
function drained(socket: ReturnType<typeof connect>): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), 1_500)
    socket.once('drain', () => {
      clearTimeout(timer)
      resolve(true)
    })
  })
}

/** Growth of memory outside the JavaScript heap, where bodies live, at its highest. */
function watchMemory(): { stop(): number } {
  const start = process.memoryUsage().arrayBuffers
  let peak = start
  const timer = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage().arrayBuffers)
  }, 5)
  return {
    stop() {
      clearInterval(timer)
      return peak - start
    },
  }
}
