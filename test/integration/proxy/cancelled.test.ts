/** An HTTP/2 client that gives a request up, in ways in which Node ends the stream by itself: it is no answer of ours. */

import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type ClientHttp2Session, connect, constants } from 'node:http2'
import { connect as tcpConnect } from 'node:net'
import { afterEach, expect, test, vi } from 'vitest'
import { PATIENCE } from '../../support/patience.ts'
import { type FrontServer, startFront } from './support/front-server.ts'
import { frame, headers, PREFACE } from './support/http2-frames.ts'
import { startUpstream, type TestUpstream } from './support/upstreams.ts'

let front: FrontServer
let upstream: TestUpstream
let session: ClientHttp2Session

afterEach(async () => {
  session.destroy()
  await front[Symbol.asyncDispose]()
  await upstream[Symbol.asyncDispose]()
})

test.each(['GET', 'HEAD'])('%s: reset with NO_ERROR while it waits is no 500', async (method) => {
  await start(() => {})
  const stream = session.request({ ':method': method, ':path': '/' })
  await vi.waitFor(() => expect(upstream.requests).toHaveLength(1), PATIENCE)

  if (method === 'GET') stream.close()
  else session.destroy()

  await vi.waitFor(() => expect(front.lines).toHaveLength(1), PATIENCE)
  expect(front.lines[0]).toMatchObject({ status: 499, aborted: true, code: 'ERR_REQUEST_ABORTED' })
})

test('reset with NO_ERROR in the middle of the answer is not the whole of it', async () => {
  await start((response) => {
    response.writeHead(200, { 'content-length': 1_000_000 })
    response.write(Buffer.alloc(1000))
  })
  const stream = session.request({ ':path': '/' })
  await once(stream, 'data')

  stream.close()

  await vi.waitFor(() => expect(front.lines).toHaveLength(1), PATIENCE)
  expect(front.lines[0]).toMatchObject({ status: 200, aborted: true, code: 'ERR_REQUEST_ABORTED' })
})

test.each([200, 204, 304])('HEAD and %i: an answer without a body is a whole one', async (status) => {
  await start((response) => response.writeHead(status, { 'x-answer': 'yes' }).end())
  const stream = session.request({ ':method': 'HEAD', ':path': '/' }).resume()
  expect((await once(stream, 'response'))[0]).toMatchObject({ ':status': status, 'x-answer': 'yes' })

  await vi.waitFor(() => expect(front.lines).toHaveLength(1), PATIENCE)
  expect(front.lines[0]).toMatchObject({ status })
  expect(front.lines[0]).not.toHaveProperty('aborted')
})

test('a client that awaits 100 Continue and resets at once costs its own request only', async () => {
  await start((response) => response.end('served'))

  for (let i = 0; i < 20; i++) {
    const stream = session.request({ ':method': 'POST', ':path': '/', expect: '100-continue' })
    stream.on('error', () => {}).close(constants.NGHTTP2_CANCEL)
  }

  await vi.waitFor(() => expect(front.lines).toHaveLength(20), PATIENCE)
  for (const line of front.lines) expect(line).toMatchObject({ status: 499, code: 'ERR_REQUEST_ABORTED' })
  const next = session.request({ ':path': '/' }).resume()
  expect((await once(next, 'response'))[0]).toMatchObject({ ':status': 200 })
})

test.each([
  ['a length', { 'content-length': '10000' }],
  ['no length', {}],
])('an upload that is reset with NO_ERROR is never whole to the server (%s)', async (_what, length) => {
  let whole: boolean | undefined
  await start(
    () => {},
    (request) => {
      request.resume().on('close', () => {
        whole = request.complete
      })
    },
  )
  // node:http2 as a client would end the body first.
  const client = tcpConnect(front.http2Port, '127.0.0.1').resume()
  const fields = { ':method': 'POST', ':scheme': 'https', ':path': '/', ':authority': 'a', ...length }
  client.write(Buffer.concat([PREFACE, frame({ type: 1, flags: 4, stream: 1 }, headers(fields))]))
  client.write(frame({ type: 0, stream: 1 }, Buffer.alloc(5000)))
  await vi.waitFor(() => expect(upstream.requests).toHaveLength(1), PATIENCE)

  client.write(frame({ type: 3, stream: 1 }, Buffer.alloc(4)))

  await vi.waitFor(() => expect(whole).toBe(false), PATIENCE)
  await vi.waitFor(() => expect(front.lines).toHaveLength(1), PATIENCE)
  expect(front.lines[0]).toMatchObject({ status: 499, aborted: true, code: 'ERR_REQUEST_ABORTED' })
  client.destroy()
})

async function start(
  answer: (response: ServerResponse) => void,
  read: (request: IncomingMessage) => void = () => {},
): Promise<void> {
  upstream = await startUpstream((request, response) => {
    read(request)
    answer(response)
  })
  front = await startFront({ upstreams: { web: [upstream.port] } })
  session = connect(`http://127.0.0.1:${front.http2Port}`)
  session.on('error', () => {})
}
