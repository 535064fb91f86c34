/**
 * Leaving: requests under way are served to the end, clients are told to come back elsewhere, idle connections
 * get a moment for a request that is already on the wire, and nothing is left afterwards.
 */

import { once } from 'node:events'
import { connect as connectHttp2, constants } from 'node:http2'
import { connect } from 'node:net'
import { expect, test, vi } from 'vitest'
import { PATIENCE } from '../../support/patience.ts'
import { curl, readAll } from './support/clients.ts'
import { startFront } from './support/front-server.ts'
import { startUpstream } from './support/upstreams.ts'

test('open requests finish, and keep-alive connections are told to close', async () => {
  const finish: (() => void)[] = []
  await using upstream = await startUpstream((_request, response) => {
    response.flushHeaders()
    finish.push(() => response.end('whole'))
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] } })
  const http1 = curl(`http://127.0.0.1:${front.http1Port}/`)
  const http2 = curl('--http2-prior-knowledge', `http://127.0.0.1:${front.http2Port}/`)
  await vi.waitFor(() => expect(finish).toHaveLength(2), PATIENCE)

  const drained = front.front.drain()
  for (const end of finish) end()

  expect(await http1).toMatchObject({ exitCode: 0, stdout: 'whole' })
  expect(await http2).toMatchObject({ exitCode: 0, stdout: 'whole' })
  await drained
  expect(front.front.connections).toBe(0)
  expect(front.resets).toEqual([])
})

test('a request that crosses the drain on an idle connection is served, with Connection: close', async () => {
  await using upstream = await startUpstream((_request, response) => response.end('ok'))
  await using front = await startFront({ upstreams: { web: [upstream.port] } })
  const socket = connect(front.http1Port, '127.0.0.1')
  const reply = readAll(socket)
  socket.write('GET /before HTTP/1.1\r\nHost: a\r\n\r\n')
  await vi.waitFor(() => expect(front.lines).toHaveLength(1), PATIENCE)

  const drained = front.front.drain()
  socket.write('GET /during HTTP/1.1\r\nHost: a\r\n\r\n')

  const { text, end } = await reply
  const [before = '', during = ''] = text.split(/(?=HTTP\/1\.1 200)/)
  expect(before).toContain('Connection: keep-alive')
  expect(during).toContain('Connection: close')
  expect(end).toBe('closed')
  await drained
})

test('an HTTP/2 client that comes during the drain may ask before it is told to go', async () => {
  const finish: (() => void)[] = []
  await using upstream = await startUpstream((request, response) => {
    if (request.url === '/slow') finish.push(() => response.end('whole'))
    else response.end('ok')
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] } })
  const slow = curl(`http://127.0.0.1:${front.http1Port}/slow`)
  await vi.waitFor(() => expect(finish).toHaveLength(1), PATIENCE)
  const drained = front.front.drain()

  const session = connectHttp2(`http://127.0.0.1:${front.http2Port}`)
  const goaway = once(session, 'goaway')
  await once(session, 'remoteSettings') // what is said to a connection at once comes with them
  const stream = session.request({ ':path': '/' }).resume()

  expect((await once(stream, 'response'))[0]).toMatchObject({ ':status': 200 })
  expect((await goaway)[0]).toBe(constants.NGHTTP2_NO_ERROR)
  for (const end of finish) end()
  expect(await slow).toMatchObject({ exitCode: 0, stdout: 'whole' })
  await drained
})

test('idle connections of both protocols are closed after a moment', async () => {
  await using upstream = await startUpstream((_request, response) => response.end('ok'))
  await using front = await startFront({ upstreams: { web: [upstream.port] } })
  const socket = connect(front.http1Port, '127.0.0.1')
  const http1 = readAll(socket)
  const session = connectHttp2(`http://127.0.0.1:${front.http2Port}`)
  const goaway = new Promise((resolve) => session.on('goaway', resolve))
  const closed = new Promise((resolve) => session.on('close', resolve))
  await vi.waitFor(() => expect(front.front.connections).toBe(2), PATIENCE)

  const first = front.front.drain()
  const second = front.front.drain()

  expect(await goaway).toBe(0)
  expect((await http1).end).toBe('closed')
  await closed
  await Promise.all([first, second])
})

test('destroy ends everything now, twice as well as once, and each request that it cuts off is recorded', async () => {
  await using upstream = await startUpstream((request, response) => {
    if (request.url !== '/waiting') response.write('endless')
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] } })
  const requests = [
    curl(`http://127.0.0.1:${front.http1Port}/waiting`),
    curl(`http://127.0.0.1:${front.http1Port}/endless`),
    curl('--http2-prior-knowledge', `http://127.0.0.1:${front.http2Port}/endless`),
  ]
  await vi.waitFor(() => expect(upstream.requests).toHaveLength(3), PATIENCE)

  await Promise.all([front.front.destroy(), front.front.destroy()])

  expect(front.front.connections).toBe(0)
  expect(front.lines).toHaveLength(3)
  for (const line of front.lines)
    expect(line).toMatchObject({
      aborted: true,
      code: 'ERR_REQUEST_ABORTED',
      reason: 'the proxy stopped before the end',
    })
  for (const request of requests) expect((await request).exitCode).not.toBe(0)
})

test('each request is counted once, under its status or as aborted', async () => {
  await using upstream = await startUpstream((request, response) => {
    if (request.url === '/slow') return
    response.writeHead(Number(request.url?.slice(1))).end()
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] } })
  const get = (path: string, maxTime = '20') =>
    curl('--max-time', maxTime, `http://127.0.0.1:${front.http1Port}${path}`)

  await Promise.all([get('/200'), get('/201'), get('/404'), get('/503'), get('/slow', '0.5')])

  await vi.waitFor(() => expect(front.lines).toHaveLength(5), PATIENCE)
  const { values } = await front.metrics.requests.get()
  const counts = Object.fromEntries(values.map(({ labels, value }) => [labels.status, value]))
  expect(counts).toEqual({ '2xx': 2, '4xx': 1, '5xx': 1, aborted: 1 })
})

test('an HTTP/2 client that leaves at that very moment is no trouble', async () => {
  await using upstream = await startUpstream((_request, response) => response.end('ok'))
  await using front = await startFront({ upstreams: { web: [upstream.port] } })
  const session = connectHttp2(`http://127.0.0.1:${front.http2Port}`)
  await vi.waitFor(() => expect(front.front.connections).toBe(1), PATIENCE)
  // Its session is over then, and its socket is not closed yet.
  const drained = new Promise<void>((resolve, reject) => {
    front.sockets.get(1)?.on('end', () => {
      expect(front.front.connections).toBe(1)
      Promise.resolve()
        .then(() => front.front.drain())
        .then(resolve, reject)
    })
  })

  session.destroy()

  await drained
  expect(front.front.connections).toBe(0)
})
