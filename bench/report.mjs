// @ts-check
/** Results as Markdown: the verdicts first, then each row with all its figures. */

import { table } from './markdown.mjs'
import { formatNumber, formatValues } from './measure/statistics.mjs'

/** @typedef {import('./rows/compare.mjs').Row} Row */
/** @typedef {import('./rows/compare.mjs').Target} Target */
/** @typedef {import('./results.mjs').Measured} Measured */
/** @typedef {import('./results.mjs').ResultsFile} ResultsFile */

/**
 * @param {readonly Row[]} rows
 * @param {ResultsFile} results rows without results are left out
 */
export function toMarkdown(rows, results) {
  const measured = measuredRows(rows, results)
  return [
    ...conditions(measured, 'median (range)'),
    '',
    ...verdictTable(measured),
    '',
    ...measured.flatMap(rowSection),
  ]
    .join('\n')
    .trim()
}

/**
 * For README.md: a few lines, each with what is beside it.
 *
 * @param {readonly Row[]} rows
 * @param {ResultsFile} results
 */
export function toSummary(rows, results) {
  const measured = measuredRows(rows, results).filter(({ row }) => row.summarize !== undefined)
  const lines = measured.flatMap(({ row, results }) => row.summarize?.(results) ?? [])
  return [
    ...conditions(measured, 'medians'),
    '',
    ...table(
      ['measure', 'Sealgate', 'beside it'],
      ['left', 'right', 'left'],
      lines.map(({ measure, sealgate, beside }) => [measure, sealgate, beside.join('; ')]),
    ),
  ].join('\n')
}

/**
 * @param {readonly Row[]} rows
 * @param {ResultsFile} file
 */
function measuredRows(rows, file) {
  return rows.flatMap((row) => {
    const results = file.rows[row.id]
    return results === undefined ? [] : [{ row, results }]
  })
}

/**
 * What the figures were measured on. A run of some rows leaves the others as they were, so several machines and days may
 * stand beside each other: then each has the rows that are its own.
 *
 * @param {readonly { row: Row, results: Measured }[]} measured
 * @param {string} shown of the values of a figure
 */
function conditions(measured, shown) {
  /** @type {Map<string, string[]>} */
  const titles = new Map()
  for (const { row, results } of measured) {
    const { date, machine, seconds, repeat } = results
    const run = `${date}, ${repeat} × ${seconds} s per figure, ${shown}: ${machine}`
    titles.set(run, [...(titles.get(run) ?? []), row.title])
  }
  if (titles.size === 1) return [...titles.keys()].map((run) => `${run}.`)
  return [
    'Not all of it is of one run:',
    '',
    ...[...titles].map(([run, rows]) => `- ${rows.join('; ')}: ${run}.`),
  ]
}

/** @param {readonly { row: Row, results: Measured }[]} measured */
function verdictTable(measured) {
  const verdicts = measured.flatMap(({ row, results }) => row.judge(results))
  return table(
    ['Sealgate: measure', 'measured', 'target', ''],
    ['left', 'right', 'right', 'left'],
    verdicts
      // A peer was left out, or has never been measured.
      .filter(({ value }) => Number.isFinite(value))
      .map(({ measure, value, target }) => [
        measure,
        formatNumber(value),
        target === undefined ? '' : targetText(target),
        target === undefined ? '' : meets(value, target) ? 'met' : '**missed**',
      ]),
  )
}

/** @param {{ row: Row, results: Measured }} measured */
function rowSection({ row, results }) {
  const metrics = Object.entries(row.metrics)
  return [
    `### ${row.title}`,
    '',
    row.method,
    '',
    ...table(
      ['', ...metrics.map(([, words]) => words)],
      ['left', ...metrics.map(() => /** @type {const} */ ('right'))],
      Object.entries(results.peers).map(([peer, figures]) => [
        peer,
        ...metrics.map(([metric]) => formatValues(figures[metric] ?? [])),
      ]),
    ),
    '',
    noiseText(results),
    '',
  ]
}

/** @param {Measured} results */
function noiseText({ noise, errors }) {
  const percent = (/** @type {number} */ share) => `${(share * 100).toFixed(1)} %`
  const disturbed = noise.steal > 0.02 || noise.foreign > 0.05 ? ' **The machine was not quiet.**' : ''
  return `Failed operations: ${errors}. Taken by others in the worst measurement: hypervisor ${percent(noise.steal)}, other processes ${percent(noise.foreign)}.${disturbed}`
}

/**
 * @param {number} value
 * @param {Target} target
 */
function meets(value, target) {
  return 'atMost' in target ? value <= target.atMost : value >= target.atLeast
}

/** @param {Target} target */
function targetText(target) {
  return 'atMost' in target ? `≤ ${target.atMost}` : `≥ ${target.atLeast}`
}
