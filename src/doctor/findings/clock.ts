/** The token's clock, where it has one, against this machine's. */

import type { Examination } from '../examine.ts'
import type { Findings } from '../finding.ts'

export function tokenClockFindings(examination: Examination, nowMs: number, findings: Findings): void {
  const clockMs = examination.token?.clockMs
  if (clockMs === undefined || clockMs === null) return
  const skewS = Math.round((clockMs - nowMs) / 1000)
  const text = `the token's clock is ${Math.abs(skewS)} s ${skewS < 0 ? 'behind' : 'ahead of'} this machine's`
  if (Math.abs(skewS) <= TOLERATED_S) findings.ok('machine.skew', text)
  else
    findings.warning(
      'machine.skew',
      text,
      'find out which one is wrong: the log of the HSM and the audit log here cannot be compared otherwise',
    )
}

const TOLERATED_S = 30
