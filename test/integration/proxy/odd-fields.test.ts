/**
 * Fields of responses that are legal, or nearly, and that Node's own server would not send: they must not cost the
 * response, and never the worker.
 */

import { expect, test } from 'vitest'
import { curl } from './support/clients.ts'
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
