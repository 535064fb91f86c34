/** The plots of one scheme: how much it signs, and how long that takes, against sessions. */

import { formatMs, formatNumber, formatShare, sessionsText } from '../numbers.ts'
import type { Markup } from './markup.ts'
import { type PlotLine, plot } from './plot.ts'
import { linearScale, logScale, stepScale } from './scale.ts'
import { membersText, type Series, type Step } from './sign-report.ts'

/** One line for each way and HSM. */
export function throughputPlot(series: readonly Series[], id: string): Markup {
  const lines = series.map(
    (each, index): PlotLine => ({
      name: pathText(each),
      style: index,
      dashed: each.path === 'raw',
      points: each.steps.map(({ sessions, rate, rateError }) => ({
        x: sessions,
        y: rate,
        error: rateError,
        ringed: sessions === each.knee?.sessions,
        tooltip: `${sessionsText(sessions)}: ${formatNumber(rate)} signatures/s ± ${formatShare(rate === 0 ? 0 : rateError / rate)}`,
      })),
    }),
  )
  const steps = series.flatMap((each) => each.steps)
  return plot({
    id,
    title: 'Throughput',
    xLabel: 'concurrent sessions of each HSM',
    yLabel: 'signatures per second (1/s)',
    x: stepScale(steps.map(({ sessions }) => sessions)),
    y: linearScale(Math.max(...steps.map(({ rate, rateError }) => rate + rateError))),
    xTickText: String,
    yTickText: formatNumber,
    lines,
  })
}

export function latencyPlot(series: Series, id: string): Markup {
  const steps = series.steps.filter(({ signatures }) => signatures > 0)
  const lines = PERCENTILES.map(
    ({ name, of }, style): PlotLine => ({
      name,
      style,
      dashed: false,
      points: steps.map((step) => ({
        x: step.sessions,
        y: of(step),
        tooltip: `${sessionsText(step.sessions)}, ${formatNumber(step.rate)} signatures/s: ${formatMs(of(step))}`,
      })),
    }),
  )
  const values = lines.flatMap(({ points }) => points.map(({ y }) => y))
  return plot({
    id,
    title: `Latency, ${pathText(series)}`,
    xLabel: 'concurrent sessions of each HSM',
    yLabel: 'latency (ms), logarithmic',
    x: stepScale(steps.map(({ sessions }) => sessions)),
    y: logScale(Math.min(...values), Math.max(...values)),
    xTickText: String,
    yTickText: formatNumber,
    lines,
  })
}

/** What an answer costs at each rate: past the knee the line turns up, and then back. */
export function costPlot(series: readonly Series[], id: string): Markup {
  const lines = series.map(
    (each, index): PlotLine => ({
      name: pathText(each),
      style: index,
      dashed: each.path === 'raw',
      points: each.steps
        .filter(({ signatures }) => signatures > 0)
        .map(({ sessions, rate, latencyMs }) => ({
          x: rate,
          y: latencyMs.p99,
          ringed: sessions === each.knee?.sessions,
          tooltip: `${sessionsText(sessions)}: ${formatNumber(rate)} signatures/s, p99 ${formatMs(latencyMs.p99)}`,
        })),
    }),
  )
  const points = lines.flatMap((line) => line.points)
  const p99s = points.map(({ y }) => y)
  return plot({
    id,
    title: 'p99 latency against throughput',
    xLabel: 'signatures per second (1/s)',
    yLabel: 'p99 latency (ms), logarithmic',
    x: linearScale(Math.max(...points.map(({ x }) => x))),
    y: logScale(Math.min(...p99s), Math.max(...p99s)),
    xTickText: formatNumber,
    yTickText: formatNumber,
    lines,
  })
}

/** `hsm-a, through the pool`. */
export function pathText(series: Pick<Series, 'path' | 'members'>): string {
  return `${membersText(series)}, ${series.path === 'pool' ? 'through the pool' : 'raw'}`
}

const PERCENTILES: readonly { readonly name: string; readonly of: (step: Step) => number }[] = [
  { name: 'p50', of: ({ latencyMs }) => latencyMs.p50 },
  { name: 'p90', of: ({ latencyMs }) => latencyMs.p90 },
  { name: 'p99', of: ({ latencyMs }) => latencyMs.p99 },
]
