/** One page for all threads: samples of HTTP workers are added, the TLS threads' totals become cumulative histograms. */

import { describe, expect, test } from 'vitest'
import { exposition } from '../../../src/metrics/exposition.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { type TlsStats, tlsMetrics } from '../../../src/metrics/tls-metrics.ts'

const STATS: TlsStats = {
  handshakes: [
    { result: 'ok', tlsVersion: 'TLSv1.3', resumed: false, count: 7 },
    { result: 'ok', tlsVersion: 'TLSv1.3', resumed: true, count: 3 },
    { result: 'failed', tlsVersion: '', resumed: false, count: 1 },
  ],
  handshakeSeconds: [{ resumed: false, bounds: [0.001, 0.01], counts: [4, 2, 1], sum: 0.25 }],
  signaturesPending: 2,
  connections: [
    { listenerId: 5, handshaking: 1, idle: 20, active: 3, refused: { connections: 6, address: 1 } },
  ],
}

/** The order of labels says nothing. */
const sortedLabels = (line: string) =>
  line.replace(/\{(.*)\}/, (_, labels: string) => `{${labels.split(',').sort().join(',')}}`)
const lines = (text: string) => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))

describe('what the TLS threads count', () => {
  test('is exposed under the names and labels of the interface', async () => {
    const text = await exposition([tlsMetrics(STATS, (id) => `listener-${id}`)])

    expect(lines(text)).toEqual([
      'sealgate_handshakes_total{result="ok",tls_version="TLSv1.3",resumed="false"} 7',
      'sealgate_handshakes_total{result="ok",tls_version="TLSv1.3",resumed="true"} 3',
      'sealgate_handshakes_total{result="failed",tls_version="",resumed="false"} 1',
      'sealgate_handshake_seconds_bucket{resumed="false",le="0.001"} 4',
      'sealgate_handshake_seconds_bucket{resumed="false",le="0.01"} 6',
      'sealgate_handshake_seconds_bucket{resumed="false",le="+Inf"} 7',
      'sealgate_handshake_seconds_sum{resumed="false"} 0.25',
      'sealgate_handshake_seconds_count{resumed="false"} 7',
      'sealgate_handshakes_signing 2',
      'sealgate_connections_open{listener="listener-5",state="handshaking"} 1',
      'sealgate_connections_open{listener="listener-5",state="idle"} 20',
      'sealgate_connections_open{listener="listener-5",state="active"} 3',
      'sealgate_connections_refused_total{listener="listener-5",limit="connections"} 6',
      'sealgate_connections_refused_total{listener="listener-5",limit="address"} 1',
    ])
    expect(text).toContain('# TYPE sealgate_handshake_seconds histogram')
  })

  test('may be nothing at all', async () => {
    const text = await exposition([
      tlsMetrics({ handshakes: [], handshakeSeconds: [], signaturesPending: 0, connections: [] }, String),
    ])

    expect(lines(text)).toEqual(['sealgate_handshakes_signing 0'])
  })
})

describe('what several threads count', () => {
  test('is added up by name and labels, after it has travelled between threads', async () => {
    const main = createMetrics()
    const workers = [createMetrics(), createMetrics()]
    main.signatures.inc({ hsm: 'a', scheme: 's', result: 'ok' }, 5)
    workers[0]?.requests.inc({ listener: 'l', upstream: 'u', status: '2xx' }, 2)
    workers[1]?.requests.inc({ listener: 'l', upstream: 'u', status: '2xx' }, 3)
    workers[1]?.requests.inc({ listener: 'l', upstream: 'u', status: '5xx' })
    for (const { requestSeconds } of workers) {
      requestSeconds.observe({ listener: 'l', upstream: 'u', status: '2xx' }, 0.02)
    }

    const snapshots = await Promise.all(
      [main, ...workers].map(async ({ registry }) => structuredClone(await registry.getMetricsAsJSON())),
    )
    const text = await exposition([...snapshots, tlsMetrics(STATS, String)])

    expect(lines(text)).toEqual(
      expect.arrayContaining([
        'sealgate_signatures_total{hsm="a",scheme="s",result="ok"} 5',
        'sealgate_requests_total{listener="l",upstream="u",status="2xx"} 5',
        'sealgate_requests_total{listener="l",upstream="u",status="5xx"} 1',
        'sealgate_request_seconds_count{listener="l",upstream="u",status="2xx"} 2',
        'sealgate_request_seconds_sum{listener="l",upstream="u",status="2xx"} 0.04',
        'sealgate_handshakes_total{result="ok",tls_version="TLSv1.3",resumed="false"} 7',
      ]),
    )
    expect(text.match(/# TYPE sealgate_requests_total counter/g)).toHaveLength(1)
  })

  test('is the same whether it went by labels or by a series', async () => {
    const labels = { listener: 'l', upstream: 'u', status: '2xx' }
    const [byLabels, bySeries] = [createMetrics(), createMetrics()]
    bySeries.signatures.series({ hsm: 'a', scheme: 's', result: 'ok' })
    bySeries.upstreamSeconds.series(labels)
    for (const seconds of [0.0005, 0.00051, 0.02, 60, 61]) {
      byLabels.requests.inc(labels)
      byLabels.requestSeconds.observe(labels, seconds)
      bySeries.requests.series({ status: '2xx', upstream: 'u', listener: 'l' }).inc()
      bySeries.requestSeconds.series(labels).observe(seconds)
    }

    const [expected, page] = await Promise.all(
      [byLabels, bySeries].map(async ({ registry }) =>
        lines(await exposition([await registry.getMetricsAsJSON()]))
          .map(sortedLabels)
          .sort(),
      ),
    )
    expect(expected).toContain(
      'sealgate_request_seconds_bucket{le="0.001",listener="l",status="2xx",upstream="u"} 2',
    )
    expect(page).toEqual(expected)
  })

  test('is as before at the next scrape: nothing is counted twice', async () => {
    const metrics = createMetrics()
    metrics.hsmUp.set({ hsm: 'a' }, 1)
    const scrape = async () =>
      exposition([await metrics.registry.getMetricsAsJSON(), tlsMetrics(STATS, String)])

    expect(await scrape()).toBe(await scrape())
  })
})
