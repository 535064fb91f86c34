/**
 * What the TLS threads count, as metrics. The threads run no JavaScript, so nothing is counted here: each scrape
 * reads their totals and says them in the form of `registry.getMetricsAsJSON()`.
 */

/** The shape of NativeStats (src/native/addon.ts); metrics/ knows no other part. */
export interface TlsStats {
  /** Since start. */
  readonly handshakes: readonly {
    readonly result: string
    readonly tlsVersion: string
    readonly resumed: boolean
    readonly count: number
  }[]
  /** Bounds in seconds, without +Inf; counts per bucket, not cumulative, +Inf last; sum in seconds. */
  readonly handshakeSeconds: readonly {
    readonly resumed: boolean
    readonly bounds: readonly number[]
    readonly counts: readonly number[]
    readonly sum: number
  }[]
  /** Handshakes suspended until their signature is there. */
  readonly signaturesPending: number
  readonly connections: readonly {
    readonly listenerId: number
    readonly handshaking: number
    readonly idle: number
    readonly active: number
    /** Since start, by the limit that was reached. */
    readonly refused: Readonly<Record<string, number>>
  }[]
}

/** One metric as prom-client writes it down. */
export interface MetricSnapshot {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly aggregator: 'sum'
  readonly values: readonly Sample[]
}

interface Sample {
  /** Where it differs from the metric's name: the series of a histogram. */
  readonly metricName?: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** @param listenerName the metric label of a listener's id. */
export function tlsMetrics(
  stats: TlsStats,
  listenerName: (listenerId: number) => string,
): readonly MetricSnapshot[] {
  return [
    {
      name: 'sealgate_handshakes_total',
      help: 'TLS handshakes that ended (result ok or failed), by version and whether a ticket resumed them.',
      type: 'counter',
      aggregator: 'sum',
      values: stats.handshakes.map(({ result, tlsVersion, resumed, count }) => ({
        labels: { result, tls_version: tlsVersion, resumed: String(resumed) },
        value: count,
      })),
    },
    {
      name: HANDSHAKE_SECONDS,
      help: 'From the first byte of a ClientHello to the finished handshake, the signature included.',
      type: 'histogram',
      aggregator: 'sum',
      values: stats.handshakeSeconds.flatMap(histogramSamples),
    },
    {
      name: 'sealgate_handshakes_signing',
      help: 'Handshakes that wait for their signature now; part of the handshaking connections.',
      type: 'gauge',
      aggregator: 'sum',
      values: [{ labels: {}, value: stats.signaturesPending }],
    },
    {
      name: 'sealgate_connections_open',
      help: 'TLS connections open now: handshaking, idle (no plaintext yet) or active.',
      type: 'gauge',
      aggregator: 'sum',
      values: stats.connections.flatMap(({ listenerId, refused: _, ...states }) =>
        Object.entries(states).map(([state, value]) => ({
          labels: { listener: listenerName(listenerId), state },
          value,
        })),
      ),
    },
    {
      name: 'sealgate_connections_refused_total',
      help: 'Refused at a limit of the listener: max_connections (connections), max_handshakes (handshakes), max_connections_per_address (address).',
      type: 'counter',
      aggregator: 'sum',
      values: stats.connections.flatMap(({ listenerId, refused }) =>
        Object.entries(refused).map(([limit, value]) => ({
          labels: { listener: listenerName(listenerId), limit },
          value,
        })),
      ),
    },
  ]
}

/** Prometheus buckets are cumulative: `le` counts everything up to its bound. */
function histogramSamples({ resumed, bounds, counts, sum }: TlsStats['handshakeSeconds'][number]): Sample[] {
  const labels = { resumed: String(resumed) }
  let total = 0
  const buckets = [...bounds.map(String), '+Inf'].map((le, index) => {
    total += counts[index] ?? 0
    return { metricName: `${HANDSHAKE_SECONDS}_bucket`, labels: { ...labels, le }, value: total }
  })
  return [
    ...buckets,
    { metricName: `${HANDSHAKE_SECONDS}_sum`, labels, value: sum },
    { metricName: `${HANDSHAKE_SECONDS}_count`, labels, value: total },
  ]
}

const HANDSHAKE_SECONDS = 'sealgate_handshake_seconds'
