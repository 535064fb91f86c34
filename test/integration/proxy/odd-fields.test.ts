/**
 * Fields of responses that are legal, or nearly, and that Node's own server would not send: they must not cost the
 * response, and never the worker.
 */

import { expect, test } from 'vitest'
import { curl, sendRaw } from './support/clients.ts'
import { startFront } from './support/front-server.ts'
import { startRawUpstream } from './support/upstreams.ts'

const PROTOCOLS = [
  ['--http1.1', 'http1Port'],
  ['--http2-prior-knowledge', 'http2Port'],
] as const

/** What curl -i shows of an upstream's answer, over both protocols. */
async function shown(answer: string): Promise<string[]> {
  await using upstream = await startRawUpstream((socket) => socket.end(answer, 'latin1'))
  await using front = await startFront({ upstreams: { web: [upstream.port] } })
  const replies: string[] = []
  for (const [protocol, portName] of PROTOCOLS)
    replies.push((await curl(protocol, '-i', `http://127.0.0.1:${front[portName]}/`)).stdout)
  return replies
}

test.each([
  ['ETag: a\r\nETag: b'],
  ['Expires: 0\r\nExpires: -1'],
  ['HTTP2-Settings: a'],
  ['__proto__: a\r\nConstructor: b'],
])('trailers with %j do not crash the worker', async (trailers) => {
  const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'

  for (const reply of await shown(`${head}2\r\nok\r\n0\r\n${trailers}\r\n\r\n`)) {
    expect(reply).toMatch(/^HTTP\/\S+ 200 /)
    expect(reply).toMatch(/\r\n\r\nok/)
  }
})

const SINGLE = [
  ...[
    'X-Content-Type-Options: nosniff',
    'Content-Type: text/plain',
    'Date: then',
    'Expires: 0',
    'Age: 1',
    'Location: /a',
  ],
  ...[
    'Access-Control-Allow-Credentials: true',
    'Access-Control-Max-Age: 1',
    'Retry-After: 1',
    'Last-Modified: then',
  ],
  ...[
    'Host: a',
    'User-Agent: a',
    'If-Range: a',
    'Content-MD5: a',
    'DNT: 1',
    'Tk: N',
    'Authorization: a',
    'Content-Range: a',
  ],
]
test.each(SINGLE)('a response with %s twice is served with the first, also over HTTP/2', async (field) => {
  const again = field.replace(/: .*/, ': other')
  const [, http2] = await shown(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n${field}\r\n${again}\r\n\r\nok`)

  expect(http2).toMatch(/^HTTP\/2 200 [\s\S]*ok$/)
  expect(http2).toContain(`\r\n${field.replace(/^.*:/, (name) => name.toLowerCase())}\r\n`)
  expect(http2).not.toContain('other')
})

test('lists that repeat are joined where node:http2 wants one field, and stay as they are elsewhere', async () => {
  const fields =
    'Content-Language: de\r\nContent-Language: fr\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nconstructor: c'
  const [, http2] = await shown(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n${fields}\r\n\r\nok`)

  expect(http2).toContain('\r\ncontent-language: de, fr\r\n')
  expect(http2).toMatch(/set-cookie: a=1\r\nset-cookie: b=2\r\nconstructor: c\r\n/)
})

test.each(['TE: gzip', 'HTTP2-Settings: abc'])('%s is no field of a response, and dropped', async (field) => {
  for (const reply of await shown(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n${field}\r\n\r\nok`)) {
    expect(reply).toMatch(/^HTTP\/\S+ 200 [\s\S]*ok$/)
    expect(reply.toLowerCase()).not.toContain(`\r\n${field.toLowerCase()}`)
  }
})

// A 304 may say how long the 200 would be (RFC 9110 §8.6); a 204 must not, and ends with its head all the same.
test.each([
  ['304 Not Modified', 'Content-Length: 5\r\n'],
  ['204 No Content', ''],
])('a %s with a length is whole without a body', async (status, length) => {
  const [http1, http2] = await shown(`HTTP/1.1 ${status}\r\nContent-Length: 5\r\nETag: "a"\r\n\r\n`)

  expect(http1).toMatch(new RegExp(`^HTTP/1.1 ${status}\r\n${length}ETag: "a"\r\n`))
  expect(http2).toMatch(new RegExp(`^HTTP/2 ${status.slice(0, 3)} \r\n${length.toLowerCase()}etag: "a"\r\n`))
})

test.each([
  ['GET', 'Content-Length: 2', 'ok'],
  ['HEAD', 'Transfer-Encoding: chunked', ''],
])(
  'trailers announced in two fields, for %s where there is no place for them, are not',
  async (method, framing, body) => {
    const head = `HTTP/1.1 200 OK\r\n${framing}\r\nTrailer: a\r\nTrailer: b\r\n\r\n`
    await using upstream = await startRawUpstream((socket) => socket.end(`${head}${body}`))
    await using front = await startFront({ upstreams: { web: [upstream.port] } })

    const { text } = await sendRaw(
      front.http1Port,
      `${method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
    )

    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(text).not.toMatch(/trailer/i)
  },
)

test('an HTTP/1.0 client gets a chunked response that announces trailers, without them', async () => {
  const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n'
  await using upstream = await startRawUpstream((socket) =>
    socket.end(`${head}2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n`),
  )
  await using front = await startFront({ upstreams: { web: [upstream.port] } })

  const { text } = await sendRaw(front.http1Port, 'GET / HTTP/1.0\r\nHost: a\r\n\r\n')

  expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nok$/)
  expect(text).not.toMatch(/trailer|x-sum/i)
})

test.each([
  ['404 Non trouv\xe9', '404 Not Found'],
  ['299 trouv\xe9', '299 '],
  ['200 \xe8\xa6\x8b \xc3\xa9', '200 \xe8\xa6\x8b \xc3\xa9'],
  ['200 ', '200 '],
])('the status line %j becomes %j', async (sent, seen) => {
  const [http1, http2] = await shown(`HTTP/1.1 ${sent}\r\nContent-Length: 2\r\n\r\nok`)

  expect(http1?.slice(0, http1.indexOf('\r\n'))).toBe(`HTTP/1.1 ${seen}`)
  expect(http2).toMatch(new RegExp(`^HTTP/2 ${sent.slice(0, 3)} [^]*ok$`))
})
