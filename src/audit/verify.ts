/** Reads the files of an audit log in order and checks the one chain that runs through them. */

import { statSync } from 'node:fs'
import { basename } from 'node:path'

import { AuditError } from '../errors.ts'
import { ChainCheck, type ChainCheckOptions, type ChainSummary } from './chain-check.ts'
import { linesOf } from './lines.ts'
import { splitName } from './rotated-files.ts'

export interface Verification extends ChainSummary {
  /** In the order in which they were read. */
  readonly files: readonly string[]
  /** Nothing was found. */
  readonly ok: boolean
}

/**
 * @param files in any order: numbered ones are read by number, before the one without.
 * @throws {AuditError} `ERR_AUDIT_READ` when a file cannot be read.
 */
export async function verifyFiles(
  files: readonly string[],
  options: ChainCheckOptions,
): Promise<Verification> {
  const logs = files.filter((file) => !isSocket(file))
  const ordered = inOrder(logs.length === 0 ? files : logs)
  const check = new ChainCheck(options)
  for (const file of ordered) {
    try {
      for await (const line of linesOf(file)) check.line(file, line)
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new AuditError('ERR_AUDIT_READ', `${file} cannot be read: ${reason}`, { cause })
    }
    check.fileEnded(file)
  }
  const summary = check.end()
  return { files: ordered, ok: summary.findings.length === 0, ...summary }
}

/** `audit.jsonl*` is also the lock of whoever writes it now (file-lock.ts). */
function isSocket(file: string): boolean {
  try {
    return statSync(file).isSocket()
  } catch {
    return false
  }
}

/** A shell gives `audit.jsonl*` with the newest first. Files of different names stay in the order given. */
export function inOrder(files: readonly string[]): readonly string[] {
  const numberOf = (file: string): number => splitName(basename(file)).number ?? Number.POSITIVE_INFINITY
  const numbered = files.filter((file) => Number.isFinite(numberOf(file)))
  const others = files.filter((file) => !Number.isFinite(numberOf(file)))
  return [...numbered.toSorted((a, b) => numberOf(a) - numberOf(b)), ...others]
}
