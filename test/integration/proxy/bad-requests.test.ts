/**
 * Requests that must not be forwarded: ambiguous framing (request smuggling), ambiguous hosts, oversized or
 * endless headers, abuse of HTTP/2. Each ends with its status or the connection's end; the upstream sees nothing.
 */

import { connect as connectHttp2, constants } from 'node:http2'
import { connect } from 'node:net'
import { expect, test, vi } from 'vitest'
import { PATIENCE } from '../../support/patience.ts'
import { readAll, sendRaw } from './support/clients.ts'
import { startFront } from './support/front-server.ts'
import { frame, headers, PREFACE } from './support/http2-frames.ts'
import { startUpstream } from './support/upstreams.ts'

const refused: Readonly<Record<string, readonly [bytes: string, status: number]>> = {
  'a length and chunks together': [
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    400,
  ],
  'two different lengths': [
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
    400,
  ],
  'a length that is no number': ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na', 400],
  'chunked twice': [
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n',
    400,
  ],
  'a coding besides chunked': [
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    400,
  ],
  'a coding disguised by a tab': [
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \tx-chunked\r\n\r\n0\r\n\r\n',
    400,
  ],
  'chunks in HTTP/1.0': ['POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
  'a space before the colon': ['GET / HTTP/1.1\r\nHost: a\r\nX-Name : b\r\n\r\n', 400],
  'a folded line': ['GET / HTTP/1.1\r\nHost: a\r\nX-Name: b\r\n c\r\n\r\n', 400],
  'a bare line feed': ['GET / HTTP/1.1\nHost: a\n\n', 400],
  'a NUL in a value': ['GET / HTTP/1.1\r\nHost: a\r\nX-Name: a\0b\r\n\r\n', 400],
  'two Hosts': ['GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
  'no Host': ['GET / HTTP/1.1\r\n\r\n', 400],
  'a Host with a path': ['GET / HTTP/1.1\r\nHost: a/b\r\n\r\n', 400],
  'a Host with a quote': ['GET / HTTP/1.1\r\nHost: a";for=x\r\n\r\n', 400],
  'a target with user information': ['GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n', 400],
  'a target of another scheme': ['GET ftp://b/ HTTP/1.1\r\nHost: b\r\n\r\n', 400],
  'an asterisk without OPTIONS': ['GET * HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  'no HTTP at all': ['\x16\x03\x01\x02\x00\x01', 400],
  'the method CONNECT': ['CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n', 501],
  'the method TRACE': ['TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', 501],
  'too large headers': [`GET / HTTP/1.1\r\nHost: a\r\nX-Name: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
}

for (const [what, [bytes, status]] of Object.entries(refused)) {
  test(`a request with ${what} is refused with ${status}`, async () => {
    await using upstream = await startUpstream((_request, response) => response.end('reached'))
    await using front = await startFront({ upstreams: { web: [upstream.port] } })
    const socket = connect(front.http1Port, '127.0.0.1')
    socket.write(bytes, 'latin1')
    // Refusals of well-formed messages leave the connection open: half-close ends it.
    socket.once('data', () => socket.end())
    const reply = await readAll(socket)

    expect(reply.text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
    expect(upstream.requests).toHaveLength(0)
    await vi.waitFor(() => expect(front.lines.map((line) => line.status)).toEqual([status]), PATIENCE)
  })
}

for (const [what, line, fields] of [
  ['a length and chunks', 'POST / HTTP/1.1', 'Content-Length: 5\r\nTransfer-Encoding: chunked'],
  ['a coding besides chunked', 'POST / HTTP/1.1', 'Transfer-Encoding: gzip, chunked'],
  ['a coding that is none', 'POST / HTTP/1.1', 'Transfer-Encoding: identity\r\nTransfer-Encoding: chunked'],
  ['chunks in HTTP/1.0', 'POST / HTTP/1.0', 'Connection: keep-alive\r\nTransfer-Encoding: chunked'],
]) {
  test(`bytes after a request refused for ${what} are never taken for another one`, async () => {
    await using upstream = await startUpstream((_request, response) => response.end('reached'))
    await using front = await startFront({ upstreams: { web: [upstream.port] } })

    const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'
    const head = `${line}\r\nHost: a\r\n${fields}\r\n\r\n0\r\n\r\n`
    const reply = await sendRaw(front.http1Port, head + smuggled)

    expect(reply.text.match(/^HTTP/gm)).toHaveLength(1)
    expect(reply.text).toMatch(/^connection: close\r$/im)
    expect(upstream.requests).toHaveLength(0)
  })
}

for (const [what, coding, body] of [
  ['size is no number', 'chunked', 'x\r\n'],
  ['data is longer than its size', 'chunked', '2\r\nabc\r\n'],
  ['coding is disguised by a tab', '\tchunked\t', '0\r\n\r\n'],
] as const) {
  test(`a body whose ${what} is refused with 400, though the server has its headers`, async () => {
    await using upstream = await startUpstream((request) => request.resume())
    await using front = await startFront({ upstreams: { web: [upstream.port] } })
    const head = `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ${coding}\r\n\r\n`

    const reply = await sendRaw(front.http1Port, `${head}${body}GET /next HTTP/1.1\r\nHost: a\r\n\r\n`)

    expect(reply.text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n[\s\S]*connection: close\r\n/i)
    expect(reply.text.match(/^HTTP/gm)).toHaveLength(1)
    expect(front.lines).toHaveLength(1)
    expect(front.lines[0]).toMatchObject({ status: 400, code: 'ERR_REQUEST_MALFORMED', method: 'POST' })
    expect(front.lines[0]?.reason).toMatch(/^Parse Error/)
    await vi.waitFor(() => expect(front.front.connections).toBe(0))
  })
}

test('a body that ends before its time says that the client has left', async () => {
  await using upstream = await startUpstream((request) => request.resume())
  await using front = await startFront({ upstreams: { web: [upstream.port] } })
  const socket = connect({ port: front.http1Port, host: '127.0.0.1', allowHalfOpen: true })
  socket.end('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf')

  expect((await readAll(socket.resume())).text).toBe('')

  expect(front.lines).toMatchObject([{ status: 499, aborted: true, code: 'ERR_REQUEST_ABORTED' }])
})

test('a body that breaks while its answer comes resets the connection', async () => {
  await using upstream = await startUpstream((_request, response) => response.write('begun'))
  await using front = await startFront({ upstreams: { web: [upstream.port] } })
  const socket = connect(front.http1Port, '127.0.0.1')
  socket.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n')
  socket.once('data', () => socket.write('x\r\n'))

  expect(await readAll(socket)).toMatchObject({ end: 'reset' })

  expect(front.resets).toHaveLength(1)
  expect(front.lines).toMatchObject([{ status: 200, aborted: true, code: 'ERR_REQUEST_MALFORMED' }])
})

test('a thousand fields and more pass, and what comes after them: the length, the body', async () => {
  await using upstream = await startUpstream((request, response) => request.pipe(response))
  upstream.server.maxHeadersCount = 0
  await using front = await startFront({ upstreams: { web: [upstream.port] } })

  const many = Array.from({ length: 2_100 }, (_, i) => `${i % 10}:1\r\n`).join('')
  const request = `POST / HTTP/1.1\r\nHost: a\r\n${many}X-Last: 1\r\nConnection: 1, close\r\nContent-Length: 5\r\n\r\nhello`
  const reply = await sendRaw(front.http1Port, request)

  expect(reply.text).toMatch(/^HTTP\/1\.1 200 [\s\S]*hello/)
  const names = upstream.requests[0]?.rawHeaders.filter((_, i) => i % 2 === 0) ?? []
  expect(names).toContain('X-Last')
  expect(names).not.toContain('1')
})

test('over HTTP/2 the size of all fields is limited, not their number', async () => {
  await using upstream = await startUpstream((request, response) => response.end(request.headers.cookie))
  await using front = await startFront({ upstreams: { web: [upstream.port] } })
  const session = connectHttp2(`http://127.0.0.1:${front.http2Port}`)
  session.on('error', () => {})
  const get = async (count: number, value: string) => {
    const cookie = Array.from({ length: count }, (_, i) => `c${i}=${value}`)
    const stream = session.request({ ':path': '/', cookie })
    const chunks: Buffer[] = []
    stream.on('data', (chunk) => chunks.push(chunk))
    await new Promise((resolve) => stream.on('error', resolve).on('close', resolve))
    return Buffer.concat(chunks).toString()
  }

  expect((await get(300, 'v')).split('; ')).toHaveLength(300)
  expect(await get(300, 'v'.repeat(40))).toBe('')
  expect(await get(500, 'v')).toBe('')
  expect(upstream.requests).toHaveLength(1)
  session.destroy()
})

test('a request whose headers do not end in time gets 408', async () => {
  await using upstream = await startUpstream((_request, response) => response.end())
  await using front = await startFront({
    upstreams: { web: [upstream.port] },
    listener: { headerTimeoutMs: 500 },
  })

  const reply = await sendRaw(front.http1Port, 'GET / HTTP/1.1\r\nHost: a\r\nX-Sl')

  expect(reply.text).toMatch(/^HTTP\/1\.1 408 /)
  expect(front.lines[0]).toMatchObject({ status: 408, code: 'ERR_REQUEST_TIMEOUT' })
})

test('an idle keep-alive connection is closed after its time', async () => {
  await using upstream = await startUpstream((_request, response) => response.end('ok'))
  await using front = await startFront({
    upstreams: { web: [upstream.port] },
    listener: { keepAliveMs: 300 },
  })

  const reply = await sendRaw(front.http1Port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')

  expect(reply).toMatchObject({ end: 'closed' })
  expect(reply.text).toMatch(/ok$/)
})

test('a client that stops in the middle of its body is given up, a slow upstream is waited for', async () => {
  await using upstream = await startUpstream((request, response) => {
    request.resume().on('end', () => setTimeout(() => response.end('late'), 1_000))
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] }, stallTimeoutMs: 300 })
  const half = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf'
  const whole = 'POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nhalf'

  const { text, end } = await sendRaw(front.http1Port, half)
  expect(text).toMatch(/^HTTP\/1\.1 408 [\s\S]*\r\nConnection: close\r\n/)
  expect(end).toBe('closed')
  expect((await sendRaw(front.http1Port, whole)).text).toMatch(/late$/)

  expect(front.lines).toMatchObject([
    { status: 408, code: 'ERR_REQUEST_TIMEOUT', bytesReceived: 4 },
    { status: 200 },
  ])
})

test('an HTTP/2 stream whose body stops is given up, and the connection is not', async () => {
  await using upstream = await startUpstream((request, response) => {
    request.resume().on('end', () => setTimeout(() => response.end('late'), 1_000))
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] }, stallTimeoutMs: 300 })
  const session = connectHttp2(`http://127.0.0.1:${front.http2Port}`)
  session.on('error', () => {})
  const stalled = session.request({ ':method': 'POST' }, { endStream: false })
  stalled.resume().write('half')
  const headers = new Promise((resolve) => stalled.on('response', resolve))
  const whole = session.request({ ':path': '/' })

  await new Promise((resolve) => stalled.on('close', resolve))
  const text = await new Promise<string>((resolve) => {
    let received = ''
    whole.on('data', (chunk) => {
      received += chunk
    })
    whole.on('end', () => resolve(received))
  })

  expect(await headers).toMatchObject({ ':status': 408 })
  expect(stalled.rstCode).toBe(constants.NGHTTP2_NO_ERROR)
  expect(text).toBe('late')
  session.destroy()
})

test('an HTTP/2 client that neither sends its body nor reads that it was too slow is cut off', async () => {
  await using upstream = await startUpstream((request) => void request.resume())
  await using front = await startFront({ upstreams: { web: [upstream.port] }, stallTimeoutMs: 300 })
  const settings = { initialWindowSize: 0 }
  const session = connectHttp2(`http://127.0.0.1:${front.http2Port}`, { settings })
  session.on('error', () => {})
  const stream = session.request({ ':method': 'POST' }, { endStream: false })
  stream.on('error', () => {}).write('half')

  await vi.waitFor(() => expect(front.lines).toHaveLength(1), 5_000)

  expect(front.lines[0]).toMatchObject({ status: 408, aborted: true, code: 'ERR_REQUEST_TIMEOUT' })
  expect(session.destroyed).toBe(false)
  session.destroy()
})

test('an HTTP/2 client that stops reading after a quiet upstream is given up all the same', async () => {
  await using upstream = await startUpstream((_request, response) => {
    setTimeout(() => response.end(Buffer.alloc(4_000_000)), 1_000)
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] }, stallTimeoutMs: 300 })
  const session = connectHttp2(`http://127.0.0.1:${front.http2Port}`)
  session.on('error', () => {})
  const stream = session.request({ ':path': '/' })
  stream.on('error', () => {})

  // It never reads: the windows fill up.
  await new Promise((resolve) => stream.on('response', resolve))

  await vi.waitFor(
    () => expect(front.lines).toMatchObject([{ status: 200, aborted: true, code: 'ERR_REQUEST_TIMEOUT' }]),
    5_000,
  )
  expect(session.destroyed).toBe(false)
  session.destroy()
})

test('an HTTP/2 connection is closed when it is idle, also after a request that took longer', async () => {
  await using upstream = await startUpstream((_request, response) => {
    setTimeout(() => response.end('late'), 1_500)
  })
  await using front = await startFront({
    upstreams: { web: [upstream.port] },
    listener: { keepAliveMs: 300 },
  })
  const session = connectHttp2(`http://127.0.0.1:${front.http2Port}`)
  const closed = new Promise((resolve) => session.on('close', resolve))
  let received = ''
  session.request({ ':path': '/' }).on('data', (chunk) => {
    received += chunk
  })

  await closed

  expect(received).toBe('late')
})

test('OPTIONS * is answered here', async () => {
  await using upstream = await startUpstream((_request, response) => response.end('reached'))
  await using front = await startFront({ upstreams: { web: [upstream.port] } })

  const reply = await sendRaw(front.http1Port, 'OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')

  expect(reply.text).toMatch(/^HTTP\/1\.1 204 /)
  expect(upstream.requests).toHaveLength(0)
})

test('an unknown expectation is ignored', async () => {
  await using upstream = await startUpstream((_request, response) => response.end('served'))
  await using front = await startFront({ upstreams: { web: [upstream.port] } })

  const bytes = 'GET / HTTP/1.1\r\nHost: a\r\nExpect: miracle\r\nConnection: close\r\n\r\n'
  const reply = await sendRaw(front.http1Port, bytes)

  expect(reply.text).toMatch(/^HTTP\/1\.1 200 [\s\S]*served$/)
  expect(upstream.requests[0]?.headers).not.toHaveProperty('expect')
})

/** A number is our status; a string is how nghttp2 resets the stream before we see the request. */
const http2Refused: Readonly<Record<string, readonly [headers: Record<string, string>, outcome: unknown]>> = {
  'an authority that is not its Host': [{ ':authority': 'a', host: 'b' }, 400],
  'a path that is none': [{ ':authority': 'a', ':path': 'index.html' }, 'NGHTTP2_PROTOCOL_ERROR'],
  'a bad authority': [{ ':authority': 'a/b' }, 'NGHTTP2_PROTOCOL_ERROR'],
  'the method TRACE': [{ ':authority': 'a', ':method': 'TRACE' }, 501],
}
for (const [what, [headers, outcome]] of Object.entries(http2Refused)) {
  test(`an HTTP/2 request with ${what} is refused with ${outcome}`, async () => {
    await using upstream = await startUpstream((_request, response) => response.end('reached'))
    await using front = await startFront({ upstreams: { web: [upstream.port] } })
    const session = connectHttp2(`http://127.0.0.1:${front.http2Port}`)
    session.on('error', () => {})
    const stream = session.request({ ':path': '/', ...headers })

    const seen = await new Promise((resolve) => {
      stream.on('response', (fields) => resolve(fields[':status']))
      stream.on('error', (error) => resolve(error.message.split(' ').at(-1)))
    })

    expect(seen).toBe(outcome)
    expect(upstream.requests).toHaveLength(0)
    session.destroy()
  })
}

for (const name of ['CANCEL', 'NO_ERROR', 'INTERNAL_ERROR', 'REFUSED_STREAM'] as const) {
  test(`a client that opens HTTP/2 streams only to reset them with ${name} loses its connection`, async () => {
    await using upstream = await startUpstream(() => {})
    await using front = await startFront({ upstreams: { web: [upstream.port] } })
    const session = connectHttp2(`http://127.0.0.1:${front.http2Port}`)
    session.on('error', () => {})
    const goaway = new Promise((resolve) => session.on('goaway', resolve))

    const timer = setInterval(() => {
      for (let i = 0; i < 50 && !session.closed; i++) {
        // Its body does not end, or NO_ERROR would wait for that.
        const stream = session.request({ ':method': 'POST' }, { endStream: false })
        stream.on('error', () => {})
        setImmediate(() => stream.close(constants[`NGHTTP2_${name}`]))
      }
    }, 5)

    expect(await goaway).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM)
    clearInterval(timer)
    await vi.waitFor(() => expect(front.front.connections).toBe(0), PATIENCE)
    session.destroy()
  })
}

test('CVE-2025-8671: a client that breaks HTTP/2 streams so that we reset them loses its connection', async () => {
  await using upstream = await startUpstream(() => {})
  await using front = await startFront({ upstreams: { web: [upstream.port] } })
  const client = connect(front.http2Port, '127.0.0.1')
  let closed = false
  client
    .on('error', () => {})
    .on('close', () => {
      closed = true
    })
  client.resume().write(PREFACE)
  const head = headers({
    ':method': 'POST',
    ':scheme': 'https',
    ':path': '/',
    ':authority': 'a',
    'content-length': '3',
  })

  let opened = 0
  for (; opened < 1_000 && !closed; opened++) {
    const stream = 2 * opened + 1
    client.write(frame({ type: 1, flags: 4, stream }, head))
    client.write(frame({ type: 0, stream }, Buffer.from('four')))
    // Pacing: one stream after the other.
    await new Promise((resolve) => setTimeout(resolve, 1))
  }

  expect(closed).toBe(true)
  expect(opened).toBeLessThan(500)
})

test('streams that break because of the upstream do not count as reset by the client', async () => {
  await using upstream = await startUpstream((_request, response) => {
    response.writeHead(200, { 'content-length': 10 })
    response.write('half', () => response.destroy())
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] } })
  const session = connectHttp2(`http://127.0.0.1:${front.http2Port}`)

  for (let i = 0; i < 5; i++) {
    const batch = Array.from({ length: 50 }, () => {
      const stream = session.request({ ':path': '/' }).resume()
      stream.on('error', () => {})
      return new Promise((resolve) => stream.on('close', () => resolve(stream.rstCode)))
    })
    expect(new Set(await Promise.all(batch))).toEqual(new Set([constants.NGHTTP2_INTERNAL_ERROR]))
  }

  expect(session.destroyed).toBe(false)
  session.destroy()
})
