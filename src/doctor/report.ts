/** Findings as people read them: by subject, the cure below what it cures. */

import type { Finding, Level } from './finding.ts'

/** All findings of one subject, under its name. */
export function subjectText(findings: readonly Finding[]): string {
  const [first] = findings
  if (first === undefined) return ''
  const lines = findings.flatMap(({ level, message, cure }) => [
    `  ${level.padEnd(LEVEL_WIDTH)}  ${message}`,
    ...(cure === undefined ? [] : [`  ${' '.repeat(LEVEL_WIDTH)}  → ${cure}`]),
  ])
  return [first.subject, ...lines, ''].map((line) => `${line}\n`).join('')
}

/** One line at the end. */
export function summaryText(findings: readonly Finding[]): string {
  const { error, warning, note, ok } = countLevels(findings)
  const verdict = error > 0 ? 'not ready' : warning > 0 ? 'ready, with warnings' : 'ready'
  return `${verdict}: ${count(error, 'error')}, ${count(warning, 'warning')}, ${count(note, 'note')}, ${ok} well\n`
}

export function countLevels(findings: readonly Finding[]): Readonly<Record<Level, number>> {
  const counts = { ok: 0, note: 0, warning: 0, error: 0 }
  for (const { level } of findings) counts[level]++
  return counts
}

function count(number: number, thing: string): string {
  return `${number} ${thing}${number === 1 ? '' : 's'}`
}

const LEVEL_WIDTH = 'warning'.length
