/**
 * What a client sees when servers fail. Honest servers are node:http, broken ones plain sockets; the rule
 * everywhere: an error status while nothing was sent yet, a visibly broken connection once something was.
 */

import type { Socket } from 'node:net'
import { expect, test, vi } from 'vitest'
import { PATIENCE } from '../../support/patience.ts'
import { curl, sendRaw } from './support/clients.ts'
import { closedPort, startFront } from './support/front-server.ts'
import { startRawUpstream, startUpstream } from './support/upstreams.ts'

const status = async (port: number, ...args: string[]): Promise<string> =>
  (await curl('-o', '/dev/null', '-w', '%{http_code}', ...args, `http://127.0.0.1:${port}/`)).stdout

test('the next server is tried when a connect fails, for any method', async () => {
  await using alive = await startUpstream((request, response) => request.pipe(response))
  await using front = await startFront({ upstreams: { web: [await closedPort(), alive.port] } })
  const url = `http://127.0.0.1:${front.http1Port}/`

  for (const round of ['one', 'two', 'three']) {
    expect((await curl('-d', round, url)).stdout).toBe(round)
  }

  expect(alive.requests).toHaveLength(3)
  // The dead server was asked once and rests since.
  expect(front.lines.map((line) => line.attempts)).toEqual([2, undefined, undefined])
})

test('no server left gives 503; the only server that refuses gives 502', async () => {
  await using several = await startFront({ upstreams: { web: [await closedPort(), await closedPort()] } })
  await using single = await startFront({ upstreams: { web: [await closedPort()] } })

  expect(await status(several.http1Port)).toBe('503')
  expect(await status(several.http1Port)).toBe('503')
  expect(await status(single.http1Port, '-d', 'body')).toBe('502')
  expect(several.lines[0]).toMatchObject({ code: 'ERR_UPSTREAM_NONE_AVAILABLE', attempts: 2 })
  expect(single.lines[0]).toMatchObject({ code: 'ERR_UPSTREAM_CONNECT' })
})

test('an error response names the status and the request, and never the reason', async () => {
  const port = await closedPort()
  await using front = await startFront({ upstreams: { web: [port] } })

  const reply = await curl(`http://127.0.0.1:${front.http1Port}/`)

  expect(reply.stdout).toBe(`502 Bad Gateway\nrequest ${front.lines[0]?.requestId}\n`)
  expect(front.lines[0]?.reason).toContain(`127.0.0.1:${port}`)
})

test('a server that never answers gives 504 and is not asked again', async () => {
  await using silent = await startRawUpstream(() => {})
  await using front = await startFront({
    upstreams: { web: [silent.port, silent.port] },
    upstream: { responseTimeoutMs: 500 },
  })

  expect(await status(front.http1Port)).toBe('504')

  expect(silent.sockets).toHaveLength(1)
  expect(front.lines[0]).toMatchObject({ code: 'ERR_UPSTREAM_TIMEOUT', status: 504 })
})

for (const [what, bytes] of [
  ['no HTTP at all', 'SSH-2.0-OpenSSH_9.2\r\n'],
  ['two different lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
  ['an unknown transfer coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
  ['a switch of protocols nobody asked for', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n'],
] as const) {
  test(`a server that sends ${what} gives 502`, async () => {
    await using upstream = await startRawUpstream((socket) => socket.end(bytes, 'latin1'))
    await using front = await startFront({ upstreams: { web: [upstream.port] } })

    expect(await status(front.http1Port, '-d', 'not repeatable')).toBe('502')
  })
}

for (const [what, field] of [
  ['no name', 'a b: c'],
  ['a control character', 'a: \x01'],
  ['its value on two lines', 'a: b\r\n c'],
] as const) {
  test(`a response whose field has ${what} is not asked for again, and the reason says so`, async () => {
    const answer = `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n${field}\r\n\r\nok`
    await using upstream = await startRawUpstream((socket) => socket.end(answer, 'latin1'))
    await using front = await startFront({ upstreams: { web: [upstream.port] } })

    expect(await status(front.http1Port)).toBe('502')

    expect(upstream.sockets).toHaveLength(1)
    expect(front.lines[0]).toMatchObject({ code: 'ERR_UPSTREAM_PROTOCOL', status: 502 })
    expect(front.lines[0]?.reason).toMatch(/field of the response is malformed/)
  })
}

test('100 Continue that nobody asked for is not asked for again, and the reason says so', async () => {
  const answer = 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
  await using upstream = await startRawUpstream((socket) => socket.write(answer))
  await using front = await startFront({ upstreams: { web: [upstream.port] } })

  expect(await status(front.http1Port)).toBe('502')

  expect(upstream.sockets).toHaveLength(1)
  expect(front.lines[0]).toMatchObject({ code: 'ERR_UPSTREAM_PROTOCOL', status: 502 })
  expect(front.lines[0]?.reason).toMatch(/100 Continue, which it was not asked for/)
})

test('a keep-alive connection that the server closed is replaced and the request served', async () => {
  let served = 0
  await using upstream = await startRawUpstream((socket, connection) => {
    // The first connection dies with its second request, as when both cross on the wire.
    served += 1
    if (connection === 0 && served === 2) socket.resetAndDestroy()
    else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] } })

  expect(await status(front.http1Port)).toBe('200')
  expect(await status(front.http1Port)).toBe('200')

  expect(upstream.sockets).toHaveLength(2)
  expect(front.lines[1]).toMatchObject({ status: 200, attempts: 2 })
  expect(front.lines[1]).not.toHaveProperty('code')
})

test('a POST that may have reached the server is not sent twice', async () => {
  await using upstream = await startRawUpstream((socket) => socket.resetAndDestroy())
  await using front = await startFront({ upstreams: { web: [upstream.port, upstream.port] } })

  expect(await status(front.http1Port, '-d', 'x')).toBe('502')
  expect(upstream.sockets).toHaveLength(1)

  expect(await status(front.http1Port)).toBe('502')
  expect(upstream.sockets.length).toBeGreaterThan(2)
})

const BROKEN: readonly (readonly [string, string, (socket: Socket) => void])[] = [
  ['content-length short, then FIN', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf', (s) => s.end()],
  [
    'chunked without terminator',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n',
    (s) => s.end(),
  ],
  ['reset', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n', (s) => s.resetAndDestroy()],
  ['reset of a body that only FIN ends', 'HTTP/1.0 200 OK\r\n\r\nhalf', (s) => s.resetAndDestroy()],
]
for (const [what, bytes, finish] of BROKEN) {
  test(`an upstream that dies mid-body aborts the client (${what})`, async () => {
    await using upstream = await startRawUpstream((socket) =>
      socket.write(bytes, () => setTimeout(finish, 50, socket)),
    )
    await using front = await startFront({ upstreams: { web: [upstream.port] } })

    const request = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
    const http1 = await sendRaw(front.http1Port, request)
    const http2 = await curl('--http2-prior-knowledge', `http://127.0.0.1:${front.http2Port}/`)

    expect(http1.end).toBe('reset')
    expect(http1.text).not.toContain('\r\n0\r\n\r\n')
    expect(front.resets).toHaveLength(1)
    // 92: CURLE_HTTP2_STREAM, the stream was reset.
    expect(http2.exitCode).toBe(92)
    expect(http2.stderr).toContain('INTERNAL_ERROR')
    expect(front.lines).toHaveLength(2)
    expect(front.lines[0]).toMatchObject({ status: 200, aborted: true, code: 'ERR_UPSTREAM_RESET' })
  })
}

test('a client that leaves cancels the upstream request', async () => {
  await using upstream = await startUpstream((_request, response) => {
    response.write('first bytes')
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] } })
  let closed = 0
  upstream.server.on('request', (_request, response) => response.on('close', () => closed++))

  await curl('--max-time', '1', `http://127.0.0.1:${front.http1Port}/`)
  await curl('--max-time', '1', '--http2-prior-knowledge', `http://127.0.0.1:${front.http2Port}/`)

  await vi.waitFor(() => expect(closed).toBe(2), PATIENCE)
  await vi.waitFor(() => expect(front.front.connections).toBe(0), PATIENCE)
  expect(front.lines).toHaveLength(2)
  for (const line of front.lines) expect(line).toMatchObject({ aborted: true, code: 'ERR_REQUEST_ABORTED' })
})

test('a client that leaves while its request waits for a connection costs the upstream nothing', async () => {
  const release: (() => void)[] = []
  await using upstream = await startUpstream((_request, response) => release.push(() => response.end('done')))
  await using front = await startFront({ upstreams: { web: [upstream.port] }, upstream: { connections: 1 } })
  const url = `http://127.0.0.1:${front.http1Port}/`

  const first = curl(url)
  await vi.waitFor(() => expect(release).toHaveLength(1), PATIENCE)
  await curl('--max-time', '0.5', url)
  release[0]?.()
  expect((await first).stdout).toBe('done')
  const third = curl(url)
  await vi.waitFor(() => expect(release).toHaveLength(2), PATIENCE)
  release[1]?.()

  expect((await third).stdout).toBe('done')
  expect(upstream.requests).toHaveLength(2)
})

for (const [what, args] of [
  ['GET', []],
  ['POST', ['-d', 'body']],
] as const) {
  test(`a request that waits too long for a connection gets 503 and is never sent (${what})`, async () => {
    const release: (() => void)[] = []
    await using upstream = await startUpstream((_request, response) =>
      release.push(() => response.end('done')),
    )
    await using front = await startFront({
      upstreams: { web: [upstream.port] },
      upstream: { connections: 1, connectTimeoutMs: 300 },
    })
    const url = `http://127.0.0.1:${front.http1Port}/`

    const first = curl(url)
    await vi.waitFor(() => expect(release).toHaveLength(1), PATIENCE)
    expect(await status(front.http1Port, '--max-time', '5', ...args)).toBe('503')
    expect(front.lines).toMatchObject([{ status: 503, code: 'ERR_UPSTREAM_NONE_AVAILABLE' }])
    release[0]?.()
    expect((await first).stdout).toBe('done')
    const third = curl(url)
    await vi.waitFor(() => expect(release).toHaveLength(2), PATIENCE)
    release[1]?.()

    expect((await third).stdout).toBe('done')
    expect(upstream.requests.map(({ method }) => method)).toEqual(['GET', 'GET'])
    const { values } = await front.metrics.requests.get()
    const counts = Object.fromEntries(values.map(({ labels, value }) => [labels.status, value]))
    expect(counts).toEqual({ '2xx': 2, '5xx': 1 })
  })
}

test('nobody waits for a server whose connections all hang while another has free ones', async () => {
  const finish: (() => void)[] = []
  await using hung = await startUpstream((_request, response) => finish.push(() => response.end('late')))
  await using upstream = await startUpstream((_request, response) => response.end('served'))
  await using front = await startFront({
    upstreams: { web: [hung.port, upstream.port] },
    upstream: { connections: 1, connectTimeoutMs: 2_000 },
  })
  const waiting = curl('--max-time', '30', `http://127.0.0.1:${front.http1Port}/`)
  await vi.waitFor(() => expect(hung.requests).toHaveLength(1), PATIENCE)

  const outcomes: unknown[] = []
  for (let request = 0; request < 6; request++)
    outcomes.push((await curl(`http://127.0.0.1:${front.http1Port}/`)).stdout)

  expect(outcomes).toEqual(Array.from({ length: 6 }, () => 'served'))

  for (const end of finish.splice(0)) end()
  expect(await waiting).toMatchObject({ stdout: 'late' })
  const next = [1, 2].map(() => curl(`http://127.0.0.1:${front.http1Port}/`))
  await vi.waitFor(() => expect(finish).toHaveLength(1), PATIENCE)
  for (const end of finish) end()
  expect((await Promise.all(next)).map(({ stdout }) => stdout).sort()).toEqual(['late', 'served'])
})

test('a request that gets a connection in time is served, however long the answer takes', async () => {
  await using upstream = await startUpstream((_request, response) => {
    setTimeout(() => response.end('done'), upstream.requests.length === 1 ? 100 : 2_000)
  })
  await using front = await startFront({
    upstreams: { web: [upstream.port] },
    upstream: { connections: 1, connectTimeoutMs: 1_500 },
  })

  const both = await Promise.all([status(front.http1Port), status(front.http1Port)])

  expect(both).toEqual(['200', '200'])
})
