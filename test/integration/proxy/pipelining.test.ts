/**
 * Requests that a client sends without waiting for answers (RFC 9112 §9.3.2): one of a connection is served at a time,
 * in order. Those that wait hold nothing of an upstream, and go with their client.
 */

import { connect } from 'node:net'
import { expect, test, vi } from 'vitest'
import { PATIENCE } from '../../support/patience.ts'
import { curl, readAll, sendRaw } from './support/clients.ts'
import { startFront } from './support/front-server.ts'
import { startUpstream } from './support/upstreams.ts'

const get = (path: string, fields = '') => `GET ${path} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`
const post = (path: string, body: string) =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`
const LAST = 'Connection: close\r\n'

test('requests reach the upstream one after the other, in order', async () => {
  const order: string[] = []
  await using upstream = await startUpstream((request, response) => {
    order.push(`begin ${request.url}`)
    const answer = () => {
      order.push(`end ${request.url}`)
      response.end(`<${request.url}>`)
    }
    request.resume().on('end', () => setTimeout(answer, request.url === '/1' ? 200 : 0))
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] } })

  const reply = await sendRaw(front.http1Port, post('/1', 'a') + post('/2', 'b') + get('/3', LAST))

  expect(order).toEqual(['begin /1', 'end /1', 'begin /2', 'end /2', 'begin /3', 'end /3'])
  expect(reply.text.match(/<.*?>/g)).toEqual(['</1>', '</2>', '</3>'])
  expect(front.lines.map((line) => line['target'])).toEqual(['/1', '/2', '/3'])
})

test('more of them than are read ahead are all answered, with bodies large and small', async () => {
  const bodies: string[] = []
  await using upstream = await startUpstream((request, response) => {
    let length = 0
    request.on('data', (chunk) => {
      length += chunk.length
    })
    request.on('end', () => {
      bodies.push(`${request.url} ${length}`)
      response.end('ok')
    })
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] } })

  const all = Array.from({ length: 200 }, (_, i) => post(`/${i}`, 'x'.repeat(i % 10 === 0 ? 150_000 : 10)))
  const reply = await sendRaw(front.http1Port, all.join('') + get('/last', LAST))

  expect(reply).toMatchObject({ end: 'closed' })
  expect(reply.text.match(/HTTP\/1\.1 200/g)).toHaveLength(201)
  expect(bodies.slice(0, 200)).toEqual(all.map((_, i) => `/${i} ${i % 10 === 0 ? 150_000 : 10}`))
})

test('a client that asks for much and leaves takes no connection to the upstream with it', async () => {
  let open = 0
  await using upstream = await startUpstream((request, response) => {
    open += 1
    response.on('close', () => {
      open -= 1
    })
    response.end(request.url === '/page' ? 'page' : LARGE)
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] }, upstream: { connections: 16 } })
  const client = connect(front.http1Port, '127.0.0.1').pause()
  client.write(get('/large').repeat(300))
  await vi.waitFor(() => expect(upstream.requests.length).toBeGreaterThan(0), PATIENCE)

  client.destroy()

  await vi.waitFor(() => expect(front.lines).toHaveLength(1), PATIENCE)
  expect(front.lines[0]).toMatchObject({ aborted: true, code: 'ERR_REQUEST_ABORTED' })
  await vi.waitFor(() => expect(open).toBe(0), PATIENCE)
  expect(upstream.requests).toHaveLength(1)
  expect((await curl('-m', '5', `http://127.0.0.1:${front.http1Port}/page`)).stdout).toBe('page')
  expect(front.front.connections).toBe(0)
})

test('a client that leaves while the first is waited for is noticed, with others behind it', async () => {
  await using upstream = await startUpstream(() => {})
  await using front = await startFront({ upstreams: { web: [upstream.port] } })
  const client = connect(front.http1Port, '127.0.0.1')
  client.write(get('/slow') + get('/next'))
  await vi.waitFor(() => expect(upstream.requests).toHaveLength(1), PATIENCE)

  client.destroy()

  await vi.waitFor(() => expect(front.lines).toMatchObject([{ target: '/slow', aborted: true }]), PATIENCE)
  await vi.waitFor(() => expect(front.front.connections).toBe(0), PATIENCE)
  expect(upstream.requests).toHaveLength(1)
})

/** More than the kernel takes for a client that does not read. */
const LARGE = Buffer.alloc(40_000_000)

const refusals: Readonly<Record<string, readonly [bytes: string, status: number]>> = {
  CONNECT: ['CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n', 501],
  'a malformed request': ['GET / HTTP/1.1\r\nHost: a\r\nX-Name : b\r\n\r\n', 400],
  'a request with a broken body': [
    'POST /broken HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nx',
    400,
  ],
  'headers that do not end': ['GET / HTTP/1.1\r\nHost: a\r\nX-Sl', 408],
  'no route': ['GET / HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\n\r\n', 404],
}
for (const [what, [bytes, status]] of Object.entries(refusals)) {
  test(`${what} is refused after the answers to what came before`, async () => {
    // More than the connection's buffers hold: an answer has to be waited for in the middle.
    await using upstream = await startUpstream((_request, response) => {
      setTimeout(() => response.end(Buffer.alloc(8_000_000, 'x')), 1_500)
    })
    await using front = await startFront({
      upstreams: { web: [upstream.port] },
      routes: [{ host: 'a', path: undefined, upstream: 'web' }],
      listener: { headerTimeoutMs: 200 },
    })

    const reply = await sendRaw(front.http1Port, get('/1') + get('/2') + bytes)

    expect(reply.text.match(/HTTP\/1\.1 \d+/g)).toEqual([
      'HTTP/1.1 200',
      'HTTP/1.1 200',
      `HTTP/1.1 ${status}`,
    ])
    expect(reply.text.match(/x{1000}/g)).toHaveLength(16_000)
    expect(front.lines.map((line) => line.status)).toEqual([200, 200, status])
    expect(upstream.requests.map(({ url }) => url)).toEqual(['/1', '/2'])
  })
}

test('headers that we do not read on are not late', async () => {
  await using upstream = await startUpstream((_request, response) => {
    setTimeout(() => response.end('ok'), upstream.requests.length === 1 ? 2_500 : 0)
  })
  await using front = await startFront({
    upstreams: { web: [upstream.port] },
    listener: { headerTimeoutMs: 200 },
  })
  const client = connect(front.http1Port, '127.0.0.1')
  const reply = readAll(client)
  client.write(`${get('/').repeat(30)}GET / HTTP/1.1\r\nHost: a\r\n`)
  await vi.waitFor(() => expect(upstream.requests).toHaveLength(1), PATIENCE)

  client.write(`${LAST}\r\n`)

  expect((await reply).text.match(/HTTP\/1\.1 \d+/g)).toEqual(Array(31).fill('HTTP/1.1 200'))
})

test('a client that expects 100 gets it when it is the turn of its request', async () => {
  await using upstream = await startUpstream((request, response) => {
    request.resume().on('end', () => setTimeout(() => response.end('ok'), 100))
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] } })
  const client = connect(front.http1Port, '127.0.0.1')
  const reply = readAll(client)
  client.on('data', (chunk) => {
    if (chunk.includes('100 Continue')) client.write('hello')
  })

  client.write(
    `${get('/1')}POST /2 HTTP/1.1\r\nHost: a\r\n${LAST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n`,
  )

  expect((await reply).text.match(/HTTP\/1\.1 \d+/g)).toEqual([
    'HTTP/1.1 200',
    'HTTP/1.1 100',
    'HTTP/1.1 200',
  ])
  expect(front.lines).toMatchObject([{ target: '/1' }, { target: '/2', bytesReceived: 5 }])
})

test('a client that asks for an upgrade is not left waiting for answers to what it sends behind', async () => {
  await using upstream = await startUpstream((_request, response) => response.end('ok'))
  await using front = await startFront({ upstreams: { web: [upstream.port] } })

  const upgrade = get('/1', 'Connection: Upgrade\r\nUpgrade: websocket\r\n')
  const reply = await sendRaw(front.http1Port, upgrade + get('/2'))

  expect(reply).toMatchObject({ end: 'closed' })
  expect(reply.text).toMatch(/^HTTP\/1\.1 200 [\s\S]*Connection: close\r\n[\s\S]*ok$/)
})

test('what is behind a request for the last answer is not served', async () => {
  await using upstream = await startUpstream((_request, response) => {
    setTimeout(() => response.end('whole'), 100)
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] } })

  const reply = await sendRaw(front.http1Port, get('/1', LAST) + get('/2'))

  expect(reply).toMatchObject({ end: 'closed' })
  expect(reply.text).toMatch(/^HTTP\/1\.1 200 [\s\S]*whole$/)
  expect(upstream.requests).toHaveLength(1)
})

test('a drain lets one request behind an answer that has begun be the last, and says so', async () => {
  const finish: (() => void)[] = []
  await using upstream = await startUpstream((_request, response) => {
    response.write('who')
    finish.push(() => response.end('le'))
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] } })
  const client = connect(front.http1Port, '127.0.0.1')
  const reply = readAll(client)
  const began = new Promise((resolve) => client.once('data', resolve))
  client.write(get('/1') + get('/2') + get('/3'))
  await began

  const drained = front.front.drain()
  // Longer than a drain leaves idle connections open: this one is none.
  await new Promise((resolve) => setTimeout(resolve, 2_500))
  finish[0]?.()
  await vi.waitFor(() => expect(finish).toHaveLength(2), PATIENCE)
  finish[1]?.()

  const { text, end } = await reply
  expect(text.match(/Connection: .*/g)).toEqual(['Connection: keep-alive', 'Connection: close'])
  expect(text.match(/who[\s\S]*?le/g)).toHaveLength(2)
  expect(end).toBe('closed')
  await drained
  expect(upstream.requests).toHaveLength(2)
})
