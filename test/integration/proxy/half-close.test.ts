/**
 * An HTTP/1.x client that stops sending while it waits: it has left, as nginx and Envoy see it too. What must not happen is
 * that it takes a part of the answer for the whole, because its connection ended in good order.
 */

import type { ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { PATIENCE } from '../../support/patience.ts'
import { readAll } from './support/clients.ts'
import { type FrontServer, startFront } from './support/front-server.ts'
import { startUpstream, type TestUpstream } from './support/upstreams.ts'

/** As much as fits between the proxy and a client that does not read. */
const LARGE = 60_000

let front: FrontServer
let upstream: TestUpstream
let answers: ServerResponse[]

beforeEach(async () => {
  answers = []
  upstream = await startUpstream((_request, response) => void answers.push(response))
  front = await startFront({ upstreams: { web: [upstream.port] } })
})

afterEach(async () => {
  await front?.[Symbol.asyncDispose]()
  await upstream?.[Symbol.asyncDispose]()
})

async function ask(request: string): Promise<{ readonly client: Socket; readonly answer: ServerResponse }> {
  const client = connect({ port: front.http1Port, host: '127.0.0.1', allowHalfOpen: true })
  client.write(request)
  await vi.waitFor(() => expect(answers).toHaveLength(1), PATIENCE)
  const [answer] = answers
  if (answer === undefined) throw new Error('no request came')
  return { client, answer }
}

test('before the answer: it is reset, and the upstream need not go on', async () => {
  const { client, answer } = await ask('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  const left = new Promise((resolve) => answer.on('close', resolve))

  client.end()

  expect(await readAll(client)).toEqual({ text: '', end: 'reset' })
  await left
  expect(front.lines).toMatchObject([{ status: 499, aborted: true, code: 'ERR_REQUEST_ABORTED' }])
})

test('in the middle of an answer that only its end tells the length of: it is reset', async () => {
  const { client, answer } = await ask('GET / HTTP/1.0\r\nHost: a\r\n\r\n')
  answer.write('a part of it')
  const reply = readAll(client)
  await new Promise((resolve) => client.once('data', resolve))

  client.end()

  const { text, end } = await reply
  expect(text).toMatch(/^HTTP\/1\.1 200 [\s\S]*a part of it$/)
  expect(end).toBe('reset')
  expect(front.lines).toMatchObject([{ status: 200, aborted: true, code: 'ERR_REQUEST_ABORTED' }])
})

test.each([
  ['after the request', 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'],
  ['in the middle of a body', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf'],
])('%s, when the answer is all on its way: it arrives whole', async (_, request) => {
  const { client, answer } = await ask(request)
  client.pause()
  answer.writeHead(200, { 'content-length': LARGE }).end(Buffer.alloc(LARGE, 'x'))
  await vi.waitFor(() => expect(front.sockets.get(1)?.bytesWritten).toBeGreaterThan(LARGE), PATIENCE)

  client.end()

  const { text, end } = await readAll(client.resume())
  expect(text.replace(/^[\s\S]*?\r\n\r\n/, '')).toHaveLength(LARGE)
  expect(end).toBe('closed')
  expect(front.lines).toMatchObject([{ status: 200, bytesSent: LARGE }])
})
