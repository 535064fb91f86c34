/** From what one HSM can do and what is wanted to how many of them, and what they cost. */

import { SealgateError } from '../../errors.ts'
import { membersText, type Series, type SignReport } from '../report/sign-report.ts'

export interface PlanOptions {
  /** Handshakes per second at the peak, full and resumed together. */
  readonly handshakes: number
  /** Share of them that is resumed. */
  readonly resumed: number
  /** undefined: the scheme that browsers get with an EC key, else the first that was measured. */
  readonly scheme: string | undefined
  /** undefined: the slowest HSM of the report, since any may be the one that is left. */
  readonly hsm: string | undefined
  /** Share of the knee that is used at most, when all are there. */
  readonly utilisation: number
  /** Per HSM and hour. */
  readonly pricePerHour: number | undefined
  /** Per signature, instead or besides. */
  readonly pricePerSignature: number | undefined
  /** Average load ÷ peak, for what is paid by use. */
  readonly averageShare: number
}

export interface CapacityPlan {
  readonly series: Series
  readonly signaturesPerSecond: number
  /** One HSM's knee. */
  readonly perHsm: number
  /** What carries the load at the wanted utilisation. */
  readonly needed: number
  /** With one more, so that the loss of any one changes nothing: N−1. */
  readonly bought: number
  /** With all of them, and with one lost. */
  readonly utilisation: number
  readonly utilisationWithOneLost: number
  readonly monthly: {
    readonly hsms: number | undefined
    readonly signatures: number | undefined
    readonly total: number
  }
  /** What the report says against taking this as it is. */
  readonly notes: readonly string[]
}

/** @throws {SealgateError} `ERR_USAGE` when the report has no such scheme or HSM. */
export function planCapacity(report: SignReport, options: PlanOptions): CapacityPlan {
  const { handshakes, resumed, utilisation, averageShare, pricePerHour, pricePerSignature } = options
  const series = chosenSeries(report, options)
  const perHsm = series.knee?.rate ?? 0
  const signaturesPerSecond = handshakes * (1 - resumed)
  const needed = Math.max(1, Math.ceil(signaturesPerSecond / (perHsm * utilisation) - 1e-9))
  const bought = needed + 1
  const hsms = pricePerHour === undefined ? undefined : bought * pricePerHour * HOURS_PER_MONTH
  const perMonth = signaturesPerSecond * averageShare * HOURS_PER_MONTH * 3600
  const signatures = pricePerSignature === undefined ? undefined : perMonth * pricePerSignature
  return {
    series,
    signaturesPerSecond,
    perHsm,
    needed,
    bought,
    utilisation: signaturesPerSecond / (bought * perHsm),
    utilisationWithOneLost: signaturesPerSecond / (needed * perHsm),
    monthly: { hsms, signatures, total: (hsms ?? 0) + (signatures ?? 0) },
    notes: notesOn(report, series),
  }
}

function chosenSeries(report: SignReport, { scheme, hsm }: PlanOptions): Series {
  const usable = report.series.filter(({ members, knee }) => members.length === 1 && knee !== null)
  const schemes = [...new Set(usable.map((series) => series.scheme))]
  const wanted = scheme ?? (schemes.includes(USUAL_SCHEME) ? USUAL_SCHEME : schemes[0])
  const names = [...new Set(usable.flatMap(({ members }) => members))]
  if (wanted === undefined)
    throw usage('the report has no HSM that was measured by itself: nothing to plan with')
  if (!schemes.includes(wanted)) throw usage(`--scheme ${wanted}: the report has ${schemes.join(', ')}`)
  if (hsm !== undefined && !names.includes(hsm))
    throw usage(`--hsm ${hsm}: the report has ${names.join(', ')}`)
  const candidates = usable.filter(
    (series) => series.scheme === wanted && (hsm === undefined || series.members.includes(hsm)),
  )
  // Through the pool is how it will be used.
  const pooled = candidates.filter(({ path }) => path === 'pool')
  const [slowest] = (pooled.length > 0 ? pooled : candidates).sort(
    (a, b) => (a.knee?.rate ?? 0) - (b.knee?.rate ?? 0),
  )
  if (slowest === undefined) throw usage(`the report has no measurement of ${wanted} on ${hsm ?? 'any HSM'}`)
  return slowest
}

function notesOn(report: SignReport, series: Series): string[] {
  const together = report.series.find(
    ({ path, scheme, members, knee }) =>
      path === 'pool' && scheme === series.scheme && members.length > 1 && knee !== null,
  )
  const alone = series.knee?.rate ?? 0
  const rate = together?.knee?.rate ?? 0
  const share = together === undefined ? 1 : rate / (alone * together.members.length)
  return [
    ...(report.complete ? [] : ['the report is not complete']),
    ...(series.path === 'raw' ? ['it was measured without the pool: the proxy will reach less'] : []),
    ...(series.stop.reason === 'knee' ? [] : [`the knee may be further up: ${series.stop.text}`]),
    ...(together !== undefined && share < LINEAR
      ? [
          `${membersText(together)} together sign ${Math.round(share * 100)} % of what they should by themselves: they share something (the machine, the network, one HSM), and more HSMs will not bring what this plan says`,
        ]
      : []),
  ]
}

function usage(message: string): SealgateError {
  return new SealgateError('ERR_USAGE', message)
}

/** What a TLS 1.3 client signs up for first with an EC certificate, and nearly all certificates of that kind are P-256. */
const USUAL_SCHEME = 'ecdsa_secp256r1_sha256'
/** 365 × 24 ÷ 12, as cloud price lists count. */
const HOURS_PER_MONTH = 730
// Two members that reach so much of twice one are independent.
const LINEAR = 0.85
