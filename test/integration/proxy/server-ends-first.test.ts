/**
 * A server ends its connection while the client is full: the client still gets every byte, and an end that is none is not
 * shown as one. The client is of HTTP/2 with a small window, which the first bytes fill.
 */

import { once } from 'node:events'
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, expect, test, vi } from 'vitest'
import { PATIENCE } from '../../support/patience.ts'
import { type FrontServer, startFront } from './support/front-server.ts'
import { type RawUpstream, startRawUpstream } from './support/upstreams.ts'

const PIECE = Buffer.alloc(20_000, 'x')
const LENGTH = 3 * PIECE.length
/** Part of it stays in the kernel, where a reset finds it unread. */
const LONG = 160_000

let front: FrontServer
let upstream: RawUpstream
let session: ClientHttp2Session

afterEach(async () => {
  session.destroy()
  await front[Symbol.asyncDispose]()
  await upstream[Symbol.asyncDispose]()
})

for (const [what, head] of [
  ['only the end delimits', 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n'],
  ['HTTP/1.0', 'HTTP/1.0 200 OK\r\n\r\n'],
  ['a length', `HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${LENGTH}\r\n\r\n`],
  ['a length, and no word of closing', `HTTP/1.1 200 OK\r\nContent-Length: ${LENGTH}\r\n\r\n`],
] as const) {
  test.each([1, 3])(
    `a body that ends behind a full client arrives whole (${what}; %i pieces at first)`,
    async (first) => {
      const stream = await ask((socket) => socket.write(Buffer.concat([Buffer.from(head), ...pieces(first)])))

      upstream.sockets[0]?.end(Buffer.concat(pieces(3 - first)))

      expect(await reading(stream)).toEqual({ bytes: LENGTH, whole: true })
      await vi.waitFor(() => expect(front.lines).toHaveLength(1), PATIENCE)
      expect(front.lines[0]).toMatchObject({ status: 200, bytesSent: LENGTH })
      expect(front.lines[0]).not.toHaveProperty('aborted')
    },
  )
}

for (const [what, head] of [
  ['only the end delimits', 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n'],
  ['a length', `HTTP/1.1 200 OK\r\nContent-Length: ${2 * LONG}\r\n\r\n`],
] as const) {
  test(`a body that is reset behind a full client is not whole (${what})`, async () => {
    const stream = await ask((socket) => socket.write(Buffer.concat([Buffer.from(head), Buffer.alloc(LONG)])))

    upstream.sockets[0]?.resetAndDestroy()

    expect(await reading(stream)).toMatchObject({ whole: false })
    await vi.waitFor(() => expect(front.lines).toHaveLength(1), PATIENCE)
    expect(front.lines[0]).toMatchObject({ status: 200, aborted: true, code: 'ERR_UPSTREAM_RESET' })
  })
}

test('a body of a length that is all there is whole, though the connection was reset behind it', async () => {
  const head = `HTTP/1.1 200 OK\r\nContent-Length: ${LONG}\r\n\r\n`
  const stream = await ask((socket) => socket.write(Buffer.concat([Buffer.from(head), Buffer.alloc(LONG)])))

  upstream.sockets[0]?.resetAndDestroy()

  expect(await reading(stream)).toEqual({ bytes: LONG, whole: true })
})

/** A client that has got the first bytes of an answer, and for the moment takes no more. */
async function ask(answer: (socket: Socket) => void): Promise<ClientHttp2Stream> {
  upstream = await startRawUpstream(answer)
  front = await startFront({ upstreams: { web: [upstream.port] } })
  session = connect(`http://127.0.0.1:${front.http2Port}`, { settings: { initialWindowSize: 1000 } })
  session.on('error', () => {})
  const stream = session.request({ ':path': '/' })
  stream.on('error', () => {})
  await once(stream, 'readable')
  return stream
}

/** Some time later. */
async function reading(stream: ClientHttp2Stream): Promise<{ bytes: number; whole: boolean }> {
  // Until the end of the server's connection is known at the other end: nothing can be seen of it there.
  await delay(200)
  let bytes = 0
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  await new Promise((resolve) => stream.on('close', resolve))
  return { bytes, whole: stream.rstCode === 0 }
}

function pieces(count: number): Buffer[] {
  return Array.from({ length: count }, () => PIECE)
}
