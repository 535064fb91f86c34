/**
 * Answers that come before the request has been sent: 413, a redirect, a refusal. The client gets them whole, its upload does
 * not hang, and the connection goes on.
 */

import { connect as connectHttp2, constants } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { expect, test, vi } from 'vitest'
import { PATIENCE } from '../../support/patience.ts'
import { readAll } from './support/clients.ts'
import { startFront } from './support/front-server.ts'
import { startRawUpstream } from './support/upstreams.ts'

const BLOCK = Buffer.alloc(65_536)
const BLOCKS = 128

const upstreams: Readonly<Record<string, string>> = {
  'stays connected': 'HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig',
  closes: 'HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig',
  'sends trailers':
    'HTTP/1.1 413 Content Too Large\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbig\r\n0\r\nX-Sum: 1\r\n\r\n',
}
const NEXT = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext'

for (const [what, answer] of Object.entries(upstreams)) {
  test(`the upload over HTTP/1.1 is read to its end, and the next request served (upstream ${what})`, async () => {
    await using upstream = await startRawUpstream((socket, connection) => {
      socket.write(upstream.received[connection]?.includes('GET /next') ? NEXT : answer)
    })
    await using front = await startFront({ upstreams: { web: [upstream.port] } })
    const client = connect(front.http1Port, '127.0.0.1')
    const reply = readAll(client)
    const answered = new Promise((resolve) => client.once('data', resolve))
    client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${BLOCK.length * BLOCKS}\r\n\r\n`)
    client.write(BLOCK)
    await answered

    await upload(client, BLOCKS - 1)
    client.write('GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')

    expect((await reply).text).toMatch(/^HTTP\/1\.1 413 [\s\S]*big[\s\S]*HTTP\/1\.1 200 [\s\S]*next$/)
    expect(front.lines.map((line) => line.status)).toEqual([413, 200])
  })

  test(`an upload over HTTP/2 is told to stop, and its stream recorded (upstream ${what})`, async () => {
    await using upstream = await startRawUpstream((socket, connection) => {
      socket.write(upstream.received[connection]?.includes('GET /next') ? NEXT : answer)
    })
    await using front = await startFront({ upstreams: { web: [upstream.port] } })
    const session = connectHttp2(`http://127.0.0.1:${front.http2Port}`)
    session.on('error', () => {})
    // More than a connection's window: none of it may stay taken.
    for (let i = 0; i < 30; i++) {
      const stream = session.request({ ':method': 'POST' }, { endStream: false })
      let received = ''
      stream.on('data', (chunk) => {
        received += chunk
      })
      stream.write(BLOCK)
      await new Promise((resolve) => stream.on('close', resolve))

      expect(received).toBe('big')
      expect(stream.rstCode).toBe(constants.NGHTTP2_NO_ERROR)
    }

    const next = session.request({ ':path': '/next' })
    expect(await new Promise((resolve) => next.on('data', (chunk) => resolve(String(chunk))))).toBe('next')
    await vi.waitFor(() => expect(front.lines).toHaveLength(31), PATIENCE)
    for (const line of front.lines.slice(0, 30)) {
      expect(line.status).toBe(413)
      expect(line).not.toHaveProperty('code')
    }
    session.destroy()
  })
}

test('an answer larger than the windows of HTTP/2 is not cut off by the reset of its upload', async () => {
  const size = 3_000_000
  await using upstream = await startRawUpstream((socket) => {
    socket.write(`HTTP/1.1 413 Content Too Large\r\nContent-Length: ${size}\r\n\r\n`)
    socket.write(Buffer.alloc(size))
  })
  await using front = await startFront({ upstreams: { web: [upstream.port] } })
  const session = connectHttp2(`http://127.0.0.1:${front.http2Port}`)
  const stream = session.request({ ':method': 'POST' }, { endStream: false })
  let received = 0
  stream.write(BLOCK)
  stream.pause()
  const pacing = setInterval(() => stream.write(BLOCK), 10)
  await new Promise((resolve) => setTimeout(resolve, 300))

  stream.on('data', (chunk) => {
    received += chunk.length
  })
  stream.resume()
  await new Promise((resolve) => stream.on('close', resolve))
  clearInterval(pacing)

  expect(received).toBe(size)
  expect(stream.rstCode).toBe(constants.NGHTTP2_NO_ERROR)
  await vi.waitFor(() => expect(front.lines).toMatchObject([{ status: 413, bytesSent: size }]), PATIENCE)
  session.destroy()
})

async function upload(client: Socket, blocks: number): Promise<void> {
  for (let i = 0; i < blocks; i++)
    if (!client.write(BLOCK)) await new Promise((resolve) => client.once('drain', resolve))
}
