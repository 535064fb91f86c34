/** What a measurement means for a configuration: sessions, in-flight limit, and the handshakes that they carry. */

import type { Series, SignReport } from '../report/sign-report.ts'

export interface Advice {
  readonly series: Series
  /** `hsms.NAME.sessions`. */
  readonly sessions: number
  /** Signatures in flight past which more only wait, for each member. */
  readonly inFlightLimit: number
  /** Full handshakes per second at the knee, and what to plan with. */
  readonly fullAtKnee: number
  readonly fullPlanned: number
  /** All handshakes per second, full and resumed, when so many are full. */
  readonly handshakesPlanned: number
}

/**
 * One signature is one full handshake; a resumed one needs none (RFC 8446 §2.2).
 *
 * @param resumed share of handshakes that are resumed, 0 to less than 1.
 */
export function adviceFor(report: SignReport, resumed: number): readonly Advice[] {
  return report.series.flatMap((series) => {
    if (series.path !== 'pool' || series.knee === null) return []
    const { sessions: inFlightLimit, rate } = series.knee
    const limits = report.hsms
      .filter(({ name }) => series.members.includes(name))
      .map(({ sessionLimit }) => sessionLimit ?? Number.POSITIVE_INFINITY)
    const sessions = Math.min(inFlightLimit + spare(inFlightLimit), ...limits)
    const fullPlanned = rate * PLANNED_UTILISATION
    return [
      {
        series,
        sessions,
        inFlightLimit,
        fullAtKnee: rate,
        fullPlanned,
        handshakesPlanned: fullPlanned / (1 - resumed),
      },
    ]
  })
}

/** A session that failed is replaced, and a signature that is late keeps its own: an eighth more, one at least. */
function spare(sessions: number): number {
  return Math.max(1, Math.ceil(sessions / 8))
}

/** At the knee there is no room for a burst; waiting times grow as 1/(1 − utilisation). */
export const PLANNED_UTILISATION = 0.7
