/**
 * A thousand clients at once: every one of them gets its signature and its answer, over HTTP/1.1 with a new
 * connection for each request and over HTTP/2 with many requests on each.
 */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { failures, HandshakeLoad } from '../support/handshake-load.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { runTool } from '../support/tools.ts'

let site: Site
let load: HandshakeLoad
let upstream: TestUpstream
let sealgate: Sealgate

beforeAll(async () => {
  site = new Site()
  load = await HandshakeLoad.compile()
  upstream = await startUpstream((_request, response) => response.end('served'))
  // On a busy machine the last of a thousand waits longer than a user would.
  const [signing, tls] = [{ timeout: '40s' }, { handshake_timeout: '40s' }]
  sealgate = await startSealgate({ config: site.config([upstream.port], { signing, tls }) })
})

afterAll(async () => {
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  load?.[Symbol.dispose]()
  site?.[Symbol.dispose]()
})

test('1,000 parallel handshakes all succeed, each with one signature', async () => {
  const before = await counts()

  const result = await load.run(
    sealgate.port(),
    '--concurrency',
    '1000',
    '--seconds',
    '0.5',
    '--timeout',
    '40',
  )

  expect(result.firstError).toBe('')
  expect(failures(result)).toBe(0)
  expect(result.handshakes).toBeGreaterThanOrEqual(1000)
  // A client is done when it has sent its last flight, the server when it has read it.
  await sealgate.untilAtRest()
  const after = await counts()
  expect(after.handshakes - before.handshakes).toBe(result.handshakes)
  expect(after.signatures - before.signatures).toBe(result.handshakes)
  expect(after.failed).toBe(0)
})

test('1,000 parallel clients that also ask something all get their answer', async () => {
  const result = await load.run(
    sealgate.port(),
    ...['--concurrency', '1000', '--seconds', '0.5', '--timeout', '40', '--request'],
  )

  expect(result.firstError).toBe('')
  expect(failures(result)).toBe(0)
  expect(result.handshakes).toBeGreaterThanOrEqual(1000)
})

test('h2load with 100 connections of 10 streams gets 5,000 answers of 200', async () => {
  const { stdout } = await runTool('h2load', ['-n5000', '-c100', '-m10', sealgate.url()])

  expect(stdout).toContain('5000 succeeded, 0 failed, 0 errored, 0 timeout')
  expect(stdout).toContain('status codes: 5000 2xx, 0 3xx, 0 4xx, 0 5xx')
})

async function counts() {
  const metrics = await sealgate.metrics()
  return {
    handshakes: metrics.sum('sealgate_handshakes_total', { result: 'ok' }),
    failed: metrics.sum('sealgate_handshakes_total', { result: 'failed' }),
    signatures: metrics.sum('sealgate_signatures_total', { result: 'ok' }),
  }
}
