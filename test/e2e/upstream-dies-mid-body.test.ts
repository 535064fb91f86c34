/**
 * The upstream breaks off in the middle of a body. Whatever the framing, the client must not take the part for the
 * whole: curl ends with an error, and the log says whose fault it was.
 */

import type { Socket } from 'node:net'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { type RawUpstream, startRawUpstream } from '../integration/proxy/support/upstreams.ts'
import { PATIENCE } from '../support/patience.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl, runTool } from '../support/tools.ts'

const FRAMINGS = {
  'Content-Length': 'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart of it',
  chunks: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\npart of it\r\n',
  // Its end is the connection's end: only a reset tells that it is not whole.
  'the end of the connection': 'HTTP/1.0 200 OK\r\n\r\npart of it',
}

let site: Site
let upstream: RawUpstream
let sealgate: Sealgate
let response: string

beforeAll(async () => {
  site = new Site()
  upstream = await startRawUpstream(answer)
  sealgate = await startSealgate({ config: site.config([upstream.port]) })
})

afterAll(async () => {
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

for (const protocol of ['--http1.0', '--http1.1', '--http2']) {
  for (const [framing, text] of Object.entries(FRAMINGS)) {
    test(`curl ${protocol} sees that a body delimited by ${framing} is not whole`, async () => {
      response = text
      const options = ['--silent', '--show-error', '--no-buffer', '--max-time', '10']
      const before = sealgate.requests().length

      const reply = await runTool('curl', [...options, protocol, '--cacert', site.ca, sealgate.url()], {
        // Not sooner: what libuv reads together with the reset looks to Node like a proper end.
        onOutput: () => reset(upstream.sockets.at(-1)),
      })

      expect(reply.stdout).toBe('part of it')
      expect(BROKEN_OFF).toContain(reply.status)
      await vi.waitFor(() => expect(sealgate.requests().length).toBeGreaterThan(before), PATIENCE)
      expect(sealgate.requests()[before]).toMatchObject({
        status: 200,
        aborted: true,
        code: 'ERR_UPSTREAM_RESET',
      })
    })
  }
}

test('one stream that breaks off leaves the others of its connection alone', async () => {
  response = FRAMINGS['Content-Length']
  const urls = [sealgate.url('/broken'), sealgate.url('/whole')]
  const shown = ['--write-out', '%{url} %{exitcode}\n', '--output', '/dev/null', '--output', '/dev/null']

  const { stdout } = await curl('--http2', '--parallel', '--cacert', site.ca, ...shown, ...urls)

  expect(stdout).toMatch(/whole 0$/m)
  expect(stdout).toMatch(/broken (18|56|92)$/m)
})

function answer(socket: Socket): void {
  const request = upstream.received[upstream.sockets.indexOf(socket)]
  if (request?.includes('/whole')) socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole')
  else if (request?.includes('/broken')) socket.write(response, () => reset(socket))
  else socket.write(response)
}

/** Not `resetAndDestroy()`: it sends a FIN before the reset, and a FIN is the proper end of some bodies. */
function reset(socket: Socket | undefined): void {
  if (socket?.destroyed === false) Reflect.get(socket, '_handle').reset(() => socket.destroy())
}

/** CURLE_PARTIAL_FILE, CURLE_RECV_ERROR, CURLE_HTTP2_STREAM. */
const BROKEN_OFF = [18, 56, 92]
