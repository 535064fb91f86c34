// @ts-check
/** The command line of `npm test`. */

import { parseArgs } from 'node:util'
import { Stop } from './steps.mjs'

export const HELP = `Usage: npm test [-- [options] [FILTER...]]

Sets up like npm start, then runs the type checker, the linter, the native tests and
all rings of tests. With a FILTER (part of a file's name) only those test files run.

  -t PATTERN     only tests whose name matches
  --node N       run the built program with this release of Node, from the npm
                 package "node", e.g. --node 24 test/e2e; the tests themselves run here
  --also-node N  everything here, and the end-to-end tests once more as with --node N
  --minutes N    how long test/chaos plays random faults (1), e.g. --minutes 30 random-faults
  --seed N       which ones: the same faults as in the run that printed this number
  --help         this text
`

/**
 * @param {readonly string[]} args
 * @returns {{ help: boolean, filters: string[], pattern: string | undefined, node: string | undefined,
 *   alsoNode: string | undefined, minutes: string | undefined, seed: string | undefined }}
 * @throws {Stop} status 64
 */
export function parseTestOptions(args) {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        help: { type: 'boolean', short: 'h' },
        pattern: { type: 'string', short: 't' },
        node: { type: 'string' },
        'also-node': { type: 'string' },
        minutes: { type: 'string' },
        seed: { type: 'string' },
      },
    })
    for (const name of /** @type {const} */ (['node', 'also-node'])) {
      const value = values[name]
      if (value !== undefined && !/^\d+(\.\d+){0,2}$/.test(value)) {
        throw new Error(`--${name} ${value}: a release is a number, e.g. 24.`)
      }
    }
    for (const name of /** @type {const} */ (['minutes', 'seed'])) {
      const value = values[name]
      if (value !== undefined && !/^[1-9]\d{0,9}$/.test(value)) {
        throw new Error(`--${name} ${value}: a whole number, from 1 on.`)
      }
    }
    const { help = false, pattern, node, 'also-node': alsoNode, minutes, seed } = values
    const narrowed = node !== undefined || pattern !== undefined || positionals.length > 0
    if (alsoNode !== undefined && narrowed) {
      throw new Error('--also-node adds to a whole run: not together with --node, -t or a FILTER.')
    }
    return { help, filters: positionals, pattern, node, alsoNode, minutes, seed }
  } catch (error) {
    throw new Stop(`${error instanceof Error ? error.message : error}\nTry: npm test -- --help`, 64)
  }
}
