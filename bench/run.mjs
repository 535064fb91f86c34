// @ts-check
/** Measures Sealgate beside its peers and prints the comparison as Markdown. settings.mjs has the usage. */

import { replaceBetween } from './markdown.mjs'
import { describeMachine } from './measure/machine.mjs'
import { toMarkdown, toSummary } from './report.mjs'
import { LAST_RUN, LATEST, mergeResults, readResults, writeResults } from './results.mjs'
import { allRows, chooseRows } from './rows.mjs'
import { readSettings, USAGE } from './settings.mjs'
import { createBench } from './setup/bench.mjs'

const BENCH_README = new URL('README.md', import.meta.url)
const README = new URL('../README.md', import.meta.url)

try {
  if (process.argv.includes('--help')) process.stdout.write(USAGE)
  else await main(readSettings(process.argv.slice(2)))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}

/** @param {import('./settings.mjs').Settings} settings */
async function main(settings) {
  if (settings.tables) return publish({ rows: {} })
  const rows = await chooseRows(settings.rows)
  const measured = await measure(rows, settings)
  console.log(toMarkdown(rows, measured))
  if (settings.write) await publish(measured)
}

/**
 * @param {readonly import('./rows/compare.mjs').Row[]} rows
 * @param {import('./settings.mjs').Settings} settings
 * @returns {Promise<import('./results.mjs').ResultsFile>}
 */
async function measure(rows, settings) {
  const { seconds, repeat } = settings
  const bench = await createBench(settings)
  try {
    const facts = { date: new Date().toISOString().slice(0, 10), machine: describeMachine(), seconds, repeat }
    /** @type {import('./results.mjs').ResultsFile} */
    const measured = { rows: {} }
    for (const row of rows) {
      console.error(row.title)
      measured.rows[row.id] = { ...facts, ...(await row.run(bench)) }
      // What took so long is not to be lost with the last row.
      await writeResults(measured, settings.results ?? LAST_RUN)
    }
    return measured
  } finally {
    await bench.workspace.close()
  }
}

/** @param {import('./results.mjs').ResultsFile} measured */
async function publish(measured) {
  const results = mergeResults(await readResults(LATEST), measured)
  const rows = await allRows()
  await writeResults(results, LATEST)
  await replaceBetween(BENCH_README, 'results', toMarkdown(rows, results))
  await replaceBetween(README, 'bench', toSummary(rows, results))
}
