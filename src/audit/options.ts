/** What the audit log needs to know; produced by config/, passed through by app.ts. All values are checked. */

import type { KeyOptions } from '../hsm/options.ts'

export interface AuditOptions {
  /** Absolute path of the file that is written; rotated ones get a number behind it. */
  readonly file: string
  /** A file that has grown to this is rotated. */
  readonly rotateBytes: number
  /** Rotated files that stay; undefined: all. */
  readonly keep: number | undefined
  /** When the file is forced to the disk: after each write, at this interval, or when the system likes to. */
  readonly fsync: 'always' | 'never' | { readonly everyMs: number }
  /** The buffer is full: signatures wait for room, or records are lost and counted. */
  readonly overflow: 'block' | 'count'
  /** Records that wait to be written, bytes. */
  readonly bufferBytes: number
  /** undefined: nobody signs; a log that is rewritten as a whole cannot be told from the true one. */
  readonly checkpoint: CheckpointOptions | undefined
}

export interface CheckpointOptions {
  readonly key: KeyOptions
  /** DER SubjectPublicKeyInfo of that key. */
  readonly spki: Uint8Array
  /** At the latest this long after a record, or after so many of them. */
  readonly everyMs: number
  readonly everyRecords: number
}
