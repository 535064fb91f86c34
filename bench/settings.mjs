// @ts-check
/** What was asked for on the command line. */

import { parseArgs } from 'node:util'
import { PEERS } from './peers/peer.mjs'

/** Of the row about memory, unless it is a quick run. */
export const IDLE_CONNECTIONS = 5000

export const USAGE = `Usage: node bench/run.mjs [ROW ...] [options]

  --seconds N      of each measurement (default 5)
  --repeat N       measurements of each figure (default 3)
  --without PEER   leave one out, as the tables call it; may be repeated
  --tables         measure nothing, only put the tables of results/latest.json into both README.md
  --write          keep the rows in results/latest.json, and put the tables into both README.md
  --quick          one second, once, little memory: does it still run? Its figures say nothing, and are never kept
  --results FILE   where to write this run's figures (default results/last-run.json)
`

/**
 * @typedef {object} Settings
 * @property {readonly string[]} rows ids; empty: all
 * @property {number} seconds
 * @property {number} repeat
 * @property {number} rehearsals rounds before them that do not count, in rows whose servers stay up for all rounds
 * @property {number} warmUp seconds
 * @property {number} idleConnections
 * @property {number} settleMs
 * @property {ReadonlySet<string>} without
 * @property {boolean} tables
 * @property {boolean} write
 * @property {string | undefined} results
 */

/**
 * @param {readonly string[]} args
 * @returns {Settings}
 * @throws an Error for whoever typed them.
 */
export function readSettings(args) {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      seconds: { type: 'string' },
      repeat: { type: 'string' },
      without: { type: 'string', multiple: true, default: [] },
      tables: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      results: { type: 'string' },
    },
  })
  const { quick, tables, write, without, results } = values
  const unknown = without.find((name) => !PEERS.includes(name))
  if (unknown !== undefined) throw new Error(`no peer ${unknown}; there are: ${PEERS.join(' | ')}`)
  if (quick && write) throw new Error('--quick measures nothing that is worth keeping: leave out --write')
  return {
    rows: positionals,
    seconds: wholeNumber('--seconds', values.seconds ?? (quick ? '1' : '5')),
    repeat: wholeNumber('--repeat', values.repeat ?? (quick ? '1' : '3')),
    rehearsals: quick ? 0 : 1,
    warmUp: quick ? 1 : 2,
    idleConnections: quick ? 200 : IDLE_CONNECTIONS,
    // V8 gives back what it does not need some eight seconds after the last work.
    settleMs: quick ? 100 : 12_000,
    without: new Set(without),
    tables,
    write,
    results,
  }
}

/**
 * @param {string} option
 * @param {string} text
 */
function wholeNumber(option, text) {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new Error(`${option} ${text}: write a whole number from 1`)
  return Number(text)
}
