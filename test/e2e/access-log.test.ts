/**
 * One JSON line per request, with the fields that people search by; `aborted` only where the client did not get the
 * whole answer.
 */

import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { PATIENCE } from '../support/patience.ts'
import { type LogLine, type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl } from '../support/tools.ts'

let site: Site
let upstream: TestUpstream
let sealgate: Sealgate

beforeAll(async () => {
  site = new Site()
  upstream = await startUpstream((request, response) => {
    if (request.url === '/endless') response.write('and so on')
    else if (request.url === '/known-length') response.end('x'.repeat(20_000))
    else if (request.url === '/empty') response.writeHead(204).end()
    else request.pipe(response)
  })
  sealgate = await startSealgate({ config: site.config([upstream.port]) })
})

afterAll(async () => {
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

const PROTOCOLS = [
  ['--http1.1', 'HTTP/1.1'],
  ['--http2', 'HTTP/2.0'],
] as const

test.each(PROTOCOLS)(
  'a request leaves one line with who, what, where and how long (curl %s)',
  async (option, protocol) => {
    const [line] = await linesOf(() => ask(option, '--data', 'an order', sealgate.url('/orders?id=7')))

    expect(line).toEqual({
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      requestId: expect.stringMatching(/^[0-9a-f]{10}-\w+$/),
      listener: 'web',
      peer: '127.0.0.1',
      method: 'POST',
      host: `localhost:${sealgate.port()}`,
      target: '/orders?id=7',
      protocol,
      status: 200,
      bytesReceived: 8,
      bytesSent: 8,
      durationMs: expect.any(Number),
      upstream: 'app',
      upstreamAddress: `127.0.0.1:${upstream.port}`,
      upstreamMs: expect.any(Number),
      serverName: 'localhost',
      tlsVersion: 'TLSv1.3',
      cipher: 'TLS_AES_128_GCM_SHA256',
      resumed: false,
    })
  },
)

test.each(PROTOCOLS)(
  'a client that leaves as soon as it has everything has not aborted (curl %s)',
  async (option) => {
    const before = await abortedRequests()

    const lines = await linesOf(
      ...Array.from({ length: 10 }, () => [
        () => ask(option, sealgate.url('/known-length')),
        () => ask(option, sealgate.url('/empty')),
        () => ask(option, '--head', sealgate.url('/known-length')),
        () => ask(option, '--data', 'x'.repeat(20_000), sealgate.url('/echo')),
      ]).flat(),
    )

    expect(lines.filter(({ aborted, code }) => aborted !== undefined || code !== undefined)).toEqual([])
    expect(await abortedRequests()).toBe(before)
  },
)

test.each(PROTOCOLS)('a client that leaves before the end has aborted (curl %s)', async (option) => {
  const before = await abortedRequests()

  const [line] = await linesOf(() => ask(option, '--max-time', '0.5', sealgate.url('/endless')))

  expect(line).toMatchObject({ status: 200, aborted: true, code: 'ERR_REQUEST_ABORTED', bytesSent: 9 })
  expect(await abortedRequests()).toBe(before + 1)
})

/** Asks one after the other. @returns their lines. */
async function linesOf(...requests: readonly (() => Promise<unknown>)[]): Promise<LogLine[]> {
  const before = sealgate.requests().length
  for (const request of requests) await request()
  // The access log is written a quarter of a second late, in one go.
  await vi.waitFor(() => expect(sealgate.requests().length).toBe(before + requests.length), PATIENCE)
  return sealgate.requests().slice(before)
}

function ask(...args: readonly string[]) {
  return curl('--cacert', site.ca, ...args)
}

async function abortedRequests(): Promise<number> {
  return (await sealgate.metrics()).sum('sealgate_requests_total', { status: 'aborted' })
}
