/** A comparison as text. */

import { formatMs, formatNumber, formatShare } from '../numbers.ts'
import { table } from '../report/text.ts'
import type { Comparison, ReportComparison } from './compare.ts'

export function comparisonText({ steps, knees, notes }: ReportComparison): string {
  const header = [
    'scheme',
    'HSM',
    'path',
    'sessions',
    'before/s',
    'after/s',
    'ratio',
    'p99 before',
    'p99 after',
    '',
  ]
  const parts = [
    steps.length === 0 ? 'The reports have no step in common.\n' : table(header, steps.map(row)),
    knees.length === 0 ? '' : `\nAt the knee of each:\n${table(header, knees.map(row))}`,
    notes.length === 0 ? '' : `\n${notes.map((note) => `note: ${note}\n`).join('')}`,
    '\nThe ratio is after ÷ before; ± is two standard errors: within it, and within 2 %, nothing has changed.\n',
  ]
  return parts.join('')
}

export function regressionText({ scheme, members, path, ratio, band }: Comparison, limit: number): string {
  return `slower than ${formatShare(limit)}: ${scheme}, ${members}, ${path}: ${formatNumber(ratio)} ± ${formatNumber(band)}\n`
}

function row(comparison: Comparison): string[] {
  const { scheme, members, path, sessions, before, after, ratio, band, p99Before, p99After, verdict } =
    comparison
  return [
    scheme,
    members,
    path,
    String(sessions),
    formatNumber(before),
    formatNumber(after),
    Number.isNaN(ratio) ? '–' : `${ratio.toFixed(2)} ± ${band.toFixed(2)}`,
    formatMs(p99Before),
    formatMs(p99After),
    verdict,
  ]
}
