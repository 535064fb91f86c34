/** Reports as text: columns of one width, for a terminal. */

import { formatMs, formatNumber, formatShare } from '../numbers.ts'
import type { SeriesHead } from '../sign/run.ts'
import type { Series, Step } from './sign-report.ts'
import { membersText } from './sign-report.ts'

/** Heads the steps of a series. */
export function headText({ path, members, key, scheme }: SeriesHead): string {
  const how = path === 'pool' ? 'through the pool' : 'raw, C_SignInit and C_Sign in threads'
  const together =
    members.length > 1 ? `${membersText({ members })}, sessions each` : membersText({ members })
  return `${scheme}  ${together}  ${how}  ${key}`
}

export function stepText(step: Step): string {
  const { sessions, rate, rateError, latencyMs, inFlightLimit } = step
  return columns([
    String(sessions),
    formatNumber(rate),
    rate === 0 ? '' : formatShare(rateError / rate),
    formatMs(latencyMs.p50),
    formatMs(latencyMs.p90),
    formatMs(latencyMs.p99),
    formatMs(latencyMs.max),
    inFlightLimit === null ? '' : String(inFlightLimit),
    troubleText(step),
  ])
}

/** What went wrong in a step, and what makes its figures those of something else than the HSM. */
export function troubleText({ errors, throttled, busy }: Step): string {
  const failed = Object.entries(errors).map(([what, count]) => `${count} × ${what}`)
  const said = throttled > 0 ? [`said busy ${throttled} ×`] : []
  const own = (busy ?? 0) > BUSY ? [`this process ${formatShare(busy ?? 0)} busy`] : []
  return [...failed, ...said, ...own].join(', ')
}

export function endText({ knee, stop }: Series): string {
  const found = knee === null ? '' : `knee at ${knee.sessions}: ${formatNumber(knee.rate)} signatures/s; `
  return `${found}stopped (${stop.reason}): ${stop.text}`
}

/** A table with the first column to the left and the others to the right. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  )
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd()
  return [header, ...rows].map((row) => `${line(row)}\n`).join('')
}

/** Fixed widths: the rows of a step are printed before the next is known. */
function columns(cells: readonly string[]): string {
  const last = cells.length - 1
  return cells
    .map((cell, index) => (index === last ? cell : cell.padStart(WIDTHS[index] ?? 10)))
    .join('  ')
    .trimEnd()
}

const WIDTHS = [8, 12, 6, 9, 9, 9, 9, 11]
// One thread has one processor; near all of it, the HSM waits for us.
const BUSY = 0.9

/** Above the steps of a series. */
export const STEP_HEADER = columns([
  'sessions',
  'signatures/s',
  '±',
  'p50',
  'p90',
  'p99',
  'max',
  'in flight ≤',
  '',
])
