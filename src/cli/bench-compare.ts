/** `sealgate bench compare`: is it faster or slower than before? */

import { compareReports, regressions } from '../bench/compare/compare.ts'
import { comparisonText, regressionText } from '../bench/compare/text.ts'
import { readSignReport } from '../bench/report/files.ts'
import { parsePositive } from './bench-options.ts'
import type { Terminal } from './program.ts'

export interface BenchCompareOptions {
  readonly failBelow?: string
  readonly json?: true
}

/**
 * @returns 0; with `failBelow`, 65 (EX_DATAERR) when a knee has fallen below it by more than chance, or there is
 *   nothing in common to compare.
 * @throws {SealgateError} `ERR_BENCH_READ`, `ERR_BENCH_REPORT`
 */
export async function benchCompare(
  [before, after]: readonly [string, string],
  options: BenchCompareOptions,
  terminal: Terminal,
): Promise<number> {
  const limit = options.failBelow === undefined ? undefined : parsePositive('--fail-below', options.failBelow)
  const comparison = compareReports(readSignReport(before), readSignReport(after))
  const slower = limit === undefined ? [] : regressions(comparison, limit)
  if (options.json) terminal.out(`${JSON.stringify({ ...comparison, slower }, null, 2)}\n`)
  else terminal.out(comparisonText(comparison))
  if (limit === undefined) return 0
  for (const regression of slower) terminal.err(regressionText(regression, limit))
  if (comparison.knees.length === 0)
    terminal.err('the reports have no knee in common: nothing was compared\n')
  return slower.length > 0 || comparison.knees.length === 0 ? FOUND_STATUS : 0
}

const FOUND_STATUS = 65
