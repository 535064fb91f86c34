/** `sealgate check`: everything that can be known without serving anybody. */

import { type CheckFinding, checkConfig } from '../check.ts'
import { loadConfig } from '../config/load.ts'
import { exitStatus } from '../errors.ts'
import type { Terminal } from './program.ts'

/**
 * Prints one line per finding.
 *
 * @returns 0 when nothing is wrong (warnings are not), else the highest exit status of what is.
 * @throws {ConfigError} with all problems of the file.
 */
export async function check(file: string, terminal: Terminal): Promise<number> {
  const config = await loadConfig(file)
  for (const warning of config.warnings) terminal.out(`warning  ${warning}\n`)
  const findings = await checkConfig(config)
  terminal.out(findingsText(findings))
  const statuses = findings
    .filter(({ level }) => level === 'error')
    .map(({ error }) => (error === undefined ? UNAVAILABLE_STATUS : exitStatus(error)))
  return Math.max(0, ...statuses)
}

/** `level    subject    message`, in columns. */
function findingsText(findings: readonly CheckFinding[]): string {
  const width = Math.max(0, ...findings.map(({ subject }) => subject.length))
  return findings
    .map(
      ({ level, subject, message }) => `${level.padEnd(LEVEL_WIDTH)}  ${subject.padEnd(width)}  ${message}\n`,
    )
    .join('')
}

const LEVEL_WIDTH = 'warning'.length
/** EX_UNAVAILABLE of sysexits.h. */
const UNAVAILABLE_STATUS = 69
