/** Every metric of the interface is on the page after some traffic, with its labels, and counts what happened. */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import type { MetricsPage } from '../support/metrics-page.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl, runTool, sClient } from '../support/tools.ts'

let site: Site
let upstream: TestUpstream
let sealgate: Sealgate
let metrics: MetricsPage
let text: string

beforeAll(async () => {
  site = new Site()
  upstream = await startUpstream((request, response) =>
    response.writeHead(request.url === '/' ? 200 : 404).end(),
  )
  sealgate = await startSealgate({ config: site.config([upstream.port]) })
  for (const protocol of ['--http1.1', '--http2']) await curl(protocol, '--cacert', site.ca, sealgate.url())
  await curl('--cacert', site.ca, sealgate.url('/missing'))
  await sClient(sealgate.port(), ['-tls1_2', '-CAfile', site.ca])
  await runTool('openssl', ['s_client', '-connect', `127.0.0.1:${sealgate.port()}`, '-alpn', 'nothing'])
  await sealgate.untilAtRest()
  text = (await sealgate.admin('/metrics'))?.text ?? ''
  metrics = await sealgate.metrics()
})

afterAll(async () => {
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

const INTERFACE: Readonly<Record<string, readonly string[]>> = {
  sealgate_handshakes_total: ['result', 'tls_version', 'resumed'],
  sealgate_handshake_seconds_count: ['resumed'],
  sealgate_handshakes_signing: [],
  sealgate_signatures_total: ['hsm', 'scheme', 'result'],
  sealgate_sign_seconds_count: ['hsm', 'scheme'],
  sealgate_sign_wait_seconds_count: ['hsm', 'scheme'],
  sealgate_hsm_up: ['hsm'],
  sealgate_hsm_sessions: ['hsm'],
  sealgate_signs_in_flight: ['hsm'],
  sealgate_connections_open: ['listener', 'state'],
  sealgate_requests_total: ['listener', 'upstream', 'status'],
  sealgate_request_seconds_count: ['listener', 'upstream', 'status'],
  sealgate_upstream_seconds_count: ['listener', 'upstream', 'status'],
  sealgate_certificate_expiry_timestamp_seconds: ['name', 'key_type'],
}

test.each(Object.entries(INTERFACE))('%s is there with its labels', (name, labels) => {
  const samples = metrics.samples.filter((sample) => sample.name === name)

  expect(samples.length).toBeGreaterThan(0)
  for (const sample of samples) expect(Object.keys(sample.labels).sort()).toEqual([...labels].sort())
})

test.each(['sealgate_sign_retries_total', 'sealgate_sign_hedges_total', 'sealgate_hsm_errors_total'])(
  '%s is announced although nothing has happened to it',
  (name) => {
    expect(text).toContain(`# TYPE ${name} counter`)
  },
)

test('handshakes are counted by version and result, and each full one by its signature', () => {
  const handshakes = (labels: Record<string, string>) => metrics.sum('sealgate_handshakes_total', labels)

  expect(handshakes({ result: 'ok', tls_version: 'TLSv1.3', resumed: 'false' })).toBe(3)
  expect(handshakes({ result: 'ok', tls_version: 'TLSv1.2', resumed: 'false' })).toBe(1)
  expect(handshakes({ result: 'failed' })).toBe(1)
  expect(metrics.sum('sealgate_handshake_seconds_count', { resumed: 'false' })).toBe(4)
  const scheme = 'ecdsa_secp256r1_sha256'
  expect(metrics.sum('sealgate_signatures_total', { hsm: 'hsm-a', scheme, result: 'ok' })).toBe(4)
})

test('requests are counted by listener, upstream and status class', () => {
  const requests = (status: string) =>
    metrics.sum('sealgate_requests_total', { listener: 'web', upstream: 'app', status })

  expect(requests('2xx')).toBe(3)
  expect(requests('4xx')).toBe(1)
  expect(metrics.sum('sealgate_requests_total')).toBe(4)
  expect(metrics.sum('sealgate_upstream_seconds_count')).toBe(4)
})

test('gauges say what is now: the HSM is up, nothing is open, the certificate ends in 30 days', () => {
  expect(metrics.sum('sealgate_hsm_up', { hsm: 'hsm-a' })).toBe(1)
  expect(metrics.sum('sealgate_hsm_sessions', { hsm: 'hsm-a' })).toBeGreaterThan(0)
  expect(metrics.sum('sealgate_hsm_sessions', { hsm: 'hsm-a' })).toBeLessThanOrEqual(8)
  expect(metrics.sum('sealgate_signs_in_flight')).toBe(0)
  expect(metrics.sum('sealgate_connections_open')).toBe(0)
  const expiry = metrics.sum('sealgate_certificate_expiry_timestamp_seconds', {
    name: 'localhost',
    key_type: 'ec',
  })
  expect(Math.round((expiry - Date.now() / 1000) / (24 * 3600))).toBe(30)
})
