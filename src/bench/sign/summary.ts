/** What a measurement says, in the end: where the knee is, what to configure, what it carries. */

import { formatNumber, formatShare } from '../numbers.ts'
import { membersText, type SignReport } from '../report/sign-report.ts'
import { table } from '../report/text.ts'
import { adviceFor, PLANNED_UTILISATION } from './advice.ts'

/** @param resumed share of handshakes without a signature. */
export function summaryText(report: SignReport, resumed: number): string {
  const advice = adviceFor(report, resumed)
  if (advice.length === 0) return kneesText(report)
  const rows = advice.map(
    ({ series, sessions, inFlightLimit, fullAtKnee, fullPlanned, handshakesPlanned }) => [
      series.scheme,
      membersText(series),
      formatNumber(fullAtKnee),
      String(inFlightLimit),
      String(sessions),
      formatNumber(fullPlanned),
      formatNumber(handshakesPlanned),
    ],
  )
  const header = [
    'scheme',
    'HSM',
    'full handshakes/s at the knee',
    'in-flight limit',
    'sessions',
    `at ${formatShare(PLANNED_UTILISATION)} of it`,
    `all, ${formatShare(resumed)} resumed`,
  ]
  return `${table(header, rows)}
A full handshake takes one signature, a resumed one none. "sessions" is for hsms.NAME.sessions: the in-flight limit
of each HSM and an eighth to spare. The pool finds the in-flight limit by itself. The last two columns leave room for bursts.
`
}

function kneesText(report: SignReport): string {
  const rows = report.series.flatMap((series) =>
    series.knee === null
      ? []
      : [[series.scheme, membersText(series), formatNumber(series.knee.rate), String(series.knee.sessions)]],
  )
  return rows.length === 0
    ? 'Nothing was measured.\n'
    : table(['scheme', 'HSM', 'signatures/s at the knee', 'sessions'], rows)
}
