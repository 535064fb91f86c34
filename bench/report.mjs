// @ts-check
/** Results as Markdown: the verdicts first, then each row with all its figures. */

import { readFile, writeFile } from 'node:fs/promises'
import { formatNumber, formatValues } from './measure/statistics.mjs'

/** @typedef {import('./rows/compare.mjs').Row} Row */
/** @typedef {import('./rows/compare.mjs').Results} Results */
/** @typedef {import('./rows/compare.mjs').Target} Target */
/** @typedef {{ row: Row, results: Results }} Measured */

const BEGIN = '<!-- results -->'
const END = '<!-- /results -->'

/**
 * @param {readonly Measured[]} measured
 * @param {{ machine: string, date: string, seconds: number, repeat: number }} facts
 */
export function toMarkdown(measured, { machine, date, seconds, repeat }) {
  return [
    `${date}: ${machine}.`,
    `${repeat} × ${seconds} s per figure; median (range).`,
    '',
    ...verdictTable(measured),
    ...measured.flatMap(rowSection),
  ].join('\n')
}

/**
 * Replaces what stands between the two marks.
 *
 * @param {URL} file
 * @param {string} markdown
 */
export async function writeIntoReadme(file, markdown) {
  const text = await readFile(file, 'utf8')
  const begin = text.indexOf(BEGIN)
  const end = text.indexOf(END)
  if (begin < 0 || end < begin) throw new Error(`no ${BEGIN} … ${END} in ${file.pathname}`)
  await writeFile(file, `${text.slice(0, begin + BEGIN.length)}\n\n${markdown}\n\n${text.slice(end)}`)
}

/** @param {readonly Measured[]} measured */
function verdictTable(measured) {
  const verdicts = measured.flatMap(({ row, results }) => row.judge(results))
  return [
    '| Sealgate: measure | measured | target | |',
    '|---|---:|---:|---|',
    ...verdicts.map(({ measure, value, target }) => {
      const met =
        target === undefined || !Number.isFinite(value) ? '' : meets(value, target) ? 'met' : '**missed**'
      return `| ${measure} | ${formatNumber(value)} | ${target === undefined ? '' : targetText(target)} | ${met} |`
    }),
    '',
  ]
}

/** @param {Measured} measured */
function rowSection({ row, results }) {
  const metrics = Object.entries(row.metrics)
  return [
    `### ${row.title}`,
    '',
    row.method,
    '',
    `| | ${metrics.map(([, words]) => words).join(' | ')} |`,
    `|---|${metrics.map(() => '---:|').join('')}`,
    ...Object.entries(results.peers).map(
      ([peer, figures]) =>
        `| ${peer} | ${metrics.map(([metric]) => formatValues(figures[metric] ?? [])).join(' | ')} |`,
    ),
    '',
    noiseText(results),
    '',
  ]
}

/** @param {Results} results */
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
