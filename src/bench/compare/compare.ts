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
  /** after ÷ before; NaN, null in JSON, when there was nothing before. */
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
  /** At the knees, wherever they are; a series that had one and has signed nothing since is at 0. */
  readonly knees: readonly Comparison[]
  /** What only one of the reports has, and what makes them hard to compare. */
  readonly notes: readonly string[]
}

export function compareReports(before: SignReport, after: SignReport): ReportComparison {
  const pairs = pairsOf(before, after)
  const steps = pairs.flatMap(({ series, other }) =>
    series.steps.flatMap((step) => {
      const match = other.steps.find(({ sessions }) => sessions === step.sessions)
      return match === undefined ? [] : [comparison(series, step, match)]
    }),
  )
  const knees = pairs.flatMap(({ series, other }) => {
    const left = kneeStep(series)
    const right = kneeStep(other) ?? NOTHING_SIGNED
    return left === undefined ? [] : [comparison(series, left, right)]
  })
  return { steps, knees, notes: [...unpaired(before, after, pairs), ...differences(before, after)] }
}

/** The knees that have fallen below `limit` by more than chance explains. */
export function regressions({ knees }: ReportComparison, limit: number): readonly Comparison[] {
  return knees.filter(({ ratio, band }) => ratio < limit && ratio + band < 1)
}

interface Pair {
  readonly series: Series
  readonly other: Series
}

/** By key first: two keys of one type in one HSM may be as different as RSA with 2048 and 4096 bits. Then in their order. */
function pairsOf(before: SignReport, after: SignReport): readonly Pair[] {
  const free = new Set(after.series)
  const found = new Map<Series, Series>()
  const take = (matches: (series: Series, other: Series) => boolean): void => {
    for (const series of before.series) {
      if (found.has(series)) continue
      const other = [...free].find((candidate) => matches(series, candidate))
      if (other === undefined) continue
      free.delete(other)
      found.set(series, other)
    }
  }
  take((series, other) => identity(series) === identity(other) && series.key === other.key)
  take((series, other) => identity(series) === identity(other))
  return before.series.flatMap((series) => {
    const other = found.get(series)
    return other === undefined ? [] : [{ series, other }]
  })
}

function comparison(
  series: Series,
  before: Step,
  after: Pick<Step, 'rate' | 'rateError' | 'latencyMs'>,
): Comparison {
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
    verdict: isSame(before, after, band) ? 'same' : after.rate > before.rate ? 'faster' : 'slower',
  }
}

function isSame(before: Pick<Step, 'rate'>, after: Pick<Step, 'rate'>, band: number): boolean {
  if (before.rate === 0) return after.rate === 0
  return Math.abs(after.rate / before.rate - 1) <= Math.max(band, NEGLIGIBLE)
}

function relativeError({ rate, rateError }: Pick<Step, 'rate' | 'rateError'>): number {
  return rate === 0 ? 0 : rateError / rate
}

function kneeStep({ knee, steps }: Series): Step | undefined {
  return steps.find(({ sessions }) => sessions === knee?.sessions)
}

/** HSMs by name and place, keys by what they are: URIs and labels may differ between two machines. */
function identity({ path, members, keyType, scheme }: Series): string {
  return [path, members.join('+'), keyType, scheme].join(' ')
}

function unpaired(before: SignReport, after: SignReport, pairs: readonly Pair[]): string[] {
  const paired = new Set(pairs.flatMap(({ series, other }) => [series, other]))
  const only = (which: string, { series }: SignReport): string[] =>
    series
      .filter((one) => !paired.has(one))
      .map((one) => `only in the ${which}: ${one.scheme}, ${membersText(one)}, ${one.path}`)
  return [...only('first', before), ...only('second', after)]
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
/** p99 of nothing is shown as a dash. */
const NOTHING_SIGNED = {
  rate: 0,
  rateError: 0,
  latencyMs: { mean: 0, p50: 0, p90: 0, p99: Number.NaN, max: 0 },
}
