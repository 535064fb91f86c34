/** Takes the place of an audit log: locks it, and finds the record that the next one is anchored in. */

import { AuditError } from '../errors.ts'
import { type Head, NO_HEAD } from './chain.ts'
import { FileLock } from './file-lock.ts'
import { LogFile } from './log-file.ts'
import { moveAside, rotatedFiles } from './rotated-files.ts'
import { readTail, type Torn } from './tail.ts'

export interface Place {
  readonly lock: FileLock
  readonly file: LogFile
  readonly head: Head
  /** A newline is missing at the end of the file; what is written next begins with it. */
  readonly unended: boolean
  /** What the file ends with, if that is no record; the next one says so. */
  readonly torn: Torn | undefined
  /** Where a file is now whose last record was changed; nothing is anchored in it. */
  readonly damaged: string | undefined
}

/** @throws {AuditError} `ERR_AUDIT_LOCKED`, `ERR_AUDIT_FILE`. */
export async function openPlace(path: string): Promise<Place> {
  let lock: FileLock | undefined
  try {
    lock = await FileLock.acquire(path)
    return { lock, ...(await openFile(path)) }
  } catch (cause) {
    await lock?.release()
    if (cause instanceof AuditError) throw cause
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new AuditError('ERR_AUDIT_FILE', `the audit log ${path} cannot be opened: ${reason}`, { cause })
  }
}

async function openFile(path: string): Promise<Omit<Place, 'lock'>> {
  const file = await LogFile.open(path)
  if (file.size > 0) {
    const { head, unended, torn, damaged } = await readTail(path)
    if (damaged) {
      await file.close()
      const kept = await moveAside(path)
      return { ...WHOLE, file: await LogFile.open(path), head: NO_HEAD, damaged: kept }
    }
    return {
      file,
      head: unended ?? head ?? (await headOfRotated(path)),
      unended: unended !== undefined || torn !== undefined,
      torn,
      damaged: undefined,
    }
  }
  return { ...WHOLE, file, head: await headOfRotated(path) }
}

/** A crash between a rotation and the first record after it: the chain ends in the file before. */
async function headOfRotated(path: string): Promise<Head> {
  const latest = (await rotatedFiles(path)).at(-1)
  if (latest === undefined) return NO_HEAD
  return (await readTail(latest.path)).head ?? NO_HEAD
}

const WHOLE = { unended: false, torn: undefined, damaged: undefined }
