/** src/metrics/README.md lists what an operator can build alerts on: every metric, with the labels and words of the code. */

import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { type TlsStats, tlsMetrics } from '../../../src/metrics/tls-metrics.ts'

const STATS: TlsStats = {
  handshakes: [{ result: 'ok', tlsVersion: 'TLSv1.3', resumed: false, count: 1 }],
  handshakeSeconds: [{ resumed: false, bounds: [0.001], counts: [1, 0], sum: 0.001 }],
  signaturesPending: 0,
  connections: [{ listenerId: 0, handshaking: 0, idle: 0, active: 0, refused: { connections: 0 } }],
}

test('the table has every metric that is exported, and no other', () => {
  const readme = readFileSync(new URL('../../../src/metrics/README.md', import.meta.url), 'utf8')
  const [tables = ''] = readme.split('## Worth an alert')
  const rows = tables.split('\n').filter((line) => line.startsWith('| `sealgate_'))

  expect(rows.map(cells).sort(byName)).toEqual([...mainMetrics(), ...threadMetrics()].sort(byName))
})

test('names say what they count: totals are counters, times are seconds', () => {
  for (const [name = '', type] of [...mainMetrics(), ...threadMetrics()]) {
    expect(name.endsWith('_total'), name).toBe(type === 'counter')
    expect(/_(ms|millis|micros|us|minutes)\b/.test(name), name).toBe(false)
    if (type === 'histogram') expect(name).toMatch(/_seconds$/)
  }
})

/** name, type, labels, help. */
type Row = readonly string[]

function cells(row: string): Row {
  return row
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.trim().replaceAll('`', '').replaceAll('\\|', '|'))
}

function byName([a = '']: Row, [b = '']: Row): number {
  return a.localeCompare(b)
}

function mainMetrics(): Row[] {
  const { registry, ...metrics } = createMetrics()
  return Object.values(metrics).map((metric) => {
    const { name, help, type, labelNames } = described(metric)
    expect(registry.getSingleMetric(name)).toBe(metric)
    return [name, type, labelNames.join(', '), help]
  })
}

/** prom-client keeps what a metric was made with, without saying so in its types. */
function described(metric: object): {
  name: string
  help: string
  type: string
  labelNames: readonly string[]
} {
  const { name, help, labelNames, type } = Object.fromEntries(Object.entries(metric))
  return { name, help, labelNames, type }
}

function threadMetrics(): Row[] {
  return tlsMetrics(STATS, String).map(({ name, help, type, values }) => {
    const labels = Object.keys(values[0]?.labels ?? {}).filter((label) => label !== 'le')
    return [name, type, labels.join(', '), help]
  })
}
