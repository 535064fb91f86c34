/** `sealgate audit verify`: what is wrong with an audit log, and what its being right proves. */

import { createPublicKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'

import { type Verification, verifyFiles } from '../audit/verify.ts'
import { AuditError } from '../errors.ts'
import type { Terminal } from './program.ts'

export interface AuditVerifyOptions {
  /** PEM, a public key or a certificate: the checkpoints' key. */
  readonly publicKey: string | undefined
  readonly expectHead: string | undefined
  readonly json: boolean
}

/**
 * @returns 0 when nothing is wrong, 65 (EX_DATAERR) when something is.
 * @throws {AuditError} `ERR_AUDIT_READ` when a file cannot be read.
 */
export async function auditVerify(
  files: readonly string[],
  options: AuditVerifyOptions,
  terminal: Terminal,
): Promise<number> {
  const publicKey = options.publicKey === undefined ? undefined : readPublicKey(options.publicKey)
  const result = await verifyFiles(files, { publicKey, expectHead: options.expectHead })
  if (options.json) terminal.out(`${JSON.stringify(result, null, 2)}\n`)
  else terminal.out(reportText(result, options))
  return result.ok ? 0 : FOUND_STATUS
}

function reportText(result: Verification, options: AuditVerifyOptions): string {
  const findings = result.findings.map(
    ({ file, line, kind, message }) => `${line === 0 ? file : `${file}:${line}`}: ${kind}: ${message}`,
  )
  const { first, last } = result
  const lines =
    first === undefined || last === undefined
      ? ['no record']
      : [
          `${result.ok ? 'verified' : `NOT VERIFIED, ${findings.length} found`}: ${result.records} records in ${result.files.length} file${result.files.length === 1 ? '' : 's'}, ${first.seq} (${first.time}) to ${last.seq} (${last.time})`,
          `head: ${last.hash}`,
          checkpointText(result, options),
          ...notes(result),
        ]
  return [...findings, ...lines].map((line) => `${line}\n`).join('')
}

function checkpointText(
  { checkpoints, covered, uncovered }: Verification,
  options: AuditVerifyOptions,
): string {
  if (checkpoints === 0) return 'checkpoints: none; who can write the file could have written all of this'
  const signed =
    options.publicKey === undefined ? 'signatures not checked (--public-key)' : 'signatures verified'
  const behind = uncovered === 0 ? '' : `; ${uncovered} records behind it are not signed for`
  return `checkpoints: ${checkpoints}, ${signed}, up to record ${covered}${behind}`
}

function notes({ torn, lost, starts }: Verification): string[] {
  return [
    `starts: ${starts}`,
    ...(torn === 0 ? [] : [`torn by a crash and known to the chain: ${torn}`]),
    ...(lost === 0 ? [] : [`lost for want of room, as the log says: ${lost} records`]),
  ]
}

function readPublicKey(file: string): KeyObject {
  try {
    return createPublicKey(readFileSync(file))
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new AuditError('ERR_AUDIT_READ', `${file} is no public key in PEM: ${reason}`, { cause })
  }
}

const FOUND_STATUS = 65
