/** The file through which a drill commands the fault module while the proxy runs. */

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { SealgateError } from '../errors.ts'
import { moduleRules } from './rules.ts'

/**
 * The rules replace all that were there; none is the end of the drill. Every host that has this file obeys them from
 * its next PKCS#11 call on, 2 ms later at most.
 *
 * @throws {SealgateError} `ERR_USAGE` with the wrong words of a rule, or when the file is something else than a control
 *   file; `ERR_DRILL` when it cannot be written. What was said before stays then.
 */
export function sayRules(file: string, rules: readonly string[]): void {
  const lines = moduleRules(rules)
  try {
    if (existsSync(file) && !readFileSync(file, 'utf8').startsWith(HEADER))
      throw new SealgateError('ERR_USAGE', `${file} is something else: name a file of its own for the drill`)
    // Replaced, never rewritten: the module must not read half of it. Readable by all: nothing in it is secret,
    // and the proxy may run as another user.
    writeFileSync(`${file}.new`, [HEADER, ...lines, ''].join('\n'), { mode: 0o644 })
    renameSync(`${file}.new`, file)
  } catch (cause) {
    if (cause instanceof SealgateError) throw cause
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new SealgateError('ERR_DRILL', `the control file cannot be written: ${reason}`, { cause })
  }
}

const HEADER = '# sealgate drill'
