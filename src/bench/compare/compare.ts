/** Two reports side by side: what has changed, and whether that is more than chance. */

import { membersText, type Series, type SignReport, type Step } from '../report/sign-report.ts'

/** One step, in both reports. */
export interface Comparison {
  readonly path: Series['path']
  readonly scheme: string
  readonly members: string
  readonly sessions: number
  /** Signatures per second. */
  readonly before: number
  readonly after: number
  /** after ÷ before. */
  readonly ratio: number
  /** The ratio may be so much more or less by chance alone: two standard errors. */
  readonly band: number
  /** p99, ms. */
  readonly p99Before: number
  readonly p99After: number
  readonly verdict: 'same' | 'faster' | 'slower'
}

export interface ReportComparison {
  readonly steps: readonly Comparison[]
  /** At the knees, wherever they are. */
  readonly knees: readonly Comparison[]
  /** What only one of the reports has, and what makes them hard to compare. */
  readonly notes: readonly string[]
}

export function compareReports(before: SignReport, after: SignReport): ReportComparison {
  const pairs = before.series.flatMap((series) => {
    const other = after.series.find((candidate) => identity(candidate) === identity(series))
    return other === undefined ? [] : [{ series, other }]
  })
  const steps = pairs.flatMap(({ series, other }) =>
    series.steps.flatMap((step) => {
      const match = other.steps.find(({ sessions }) => sessions === step.sessions)
      return match === undefined ? [] : [comparison(series, step, match)]
    }),
  )
  const knees = pairs.flatMap(({ series, other }) => {
    const left = kneeStep(series)
    const right = kneeStep(other)
    return left === undefined || right === undefined ? [] : [comparison(series, left, right)]
  })
  return { steps, knees, notes: [...unpaired(before, after), ...differences(before, after)] }
}

/** The knees that have fallen below `limit` by more than chance explains. */
export function regressions({ knees }: ReportComparison, limit: number): readonly Comparison[] {
  return knees.filter(({ ratio, band }) => ratio < limit && ratio + band < 1)
}

function comparison(series: Series, before: Step, after: Step): Comparison {
  const ratio = before.rate === 0 ? Number.NaN : after.rate / before.rate
  const band = 2 * ratio * Math.hypot(relativeError(before), relativeError(after))
  return {
    path: series.path,
    scheme: series.scheme,
    members: membersText(series),
    sessions: before.sessions,
    before: before.rate,
    after: after.rate,
    ratio,
    band,
    p99Before: before.latencyMs.p99,
    p99After: after.latencyMs.p99,
    verdict: Math.abs(ratio - 1) <= Math.max(band, NEGLIGIBLE) ? 'same' : ratio > 1 ? 'faster' : 'slower',
  }
}

function relativeError({ rate, rateError }: Step): number {
  return rate === 0 ? 0 : rateError / rate
}

function kneeStep({ knee, steps }: Series): Step | undefined {
  return steps.find(({ sessions }) => sessions === knee?.sessions)
}

/** HSMs by name and place, keys by what they are: URIs and labels may differ between two machines. */
function identity({ path, members, keyType, scheme }: Series): string {
  return [path, members.join('+'), keyType, scheme].join(' ')
}

function unpaired(before: SignReport, after: SignReport): string[] {
  const only = (which: string, here: SignReport, there: SignReport): string[] =>
    here.series
      .filter((series) => !there.series.some((other) => identity(other) === identity(series)))
      .map((series) => `only in the ${which}: ${series.scheme}, ${membersText(series)}, ${series.path}`)
  return [...only('first', before, after), ...only('second', after, before)]
}

function differences(before: SignReport, after: SignReport): string[] {
  const { machine: a, method: m } = before
  const { machine: b, method: n } = after
  return [
    ...(before.complete && after.complete ? [] : ['at least one of the reports is not complete']),
    ...(a.processor === b.processor && a.processors === b.processors
      ? []
      : [`other machines: ${a.processor} (${a.processors}), ${b.processor} (${b.processors})`]),
    ...(a.node === b.node ? [] : [`other versions of Node: ${a.node}, ${b.node}`]),
    ...(before.sealgate === after.sealgate
      ? []
      : [`other versions of Sealgate: ${before.sealgate}, ${after.sealgate}`]),
    ...(m.secondsPerStep === n.secondsPerStep
      ? []
      : [`steps of other lengths: ${m.secondsPerStep} s, ${n.secondsPerStep} s`]),
    ...(m.verify === n.verify ? [] : [`verification was ${m.verify} and is ${n.verify}`]),
  ]
}

// Less than this is nobody's concern, however steady the machine was.
const NEGLIGIBLE = 0.02
