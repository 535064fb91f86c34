/** How a file of records ends: what the next record is anchored in, and what a crash has left behind it. */

import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'

import type { Head } from './chain.ts'
import { MAX_LINE_BYTES, openLine, type SealedLine } from './record.ts'

/** The bytes of a record that was not written to its end. Recorded, so that `verify` knows them from an edit. */
export interface Torn {
  readonly bytes: number
  readonly sha256: string
}

export interface Tail {
  /** Of the last record that has its newline; undefined when there is none. */
  readonly head: Head | undefined
  /** Of a record behind it that lacks its newline and nothing else. With that, it is the head. */
  readonly unended: Head | undefined
  /** What stands behind it and is no record; undefined when there is nothing. */
  readonly torn: Torn | undefined
  /** The last record is not what it was: nothing may be anchored in it. */
  readonly damaged: boolean
}

/** @throws {Error} of node:fs, also when there is no such file. */
export async function readTail(path: string): Promise<Tail> {
  await using file = await open(path, 'r')
  const { size } = await file.stat()
  const length = Math.min(size, WINDOW_BYTES)
  const bytes = Buffer.alloc(length)
  await file.read(bytes, 0, length, size - length)
  return tailOf(bytes, length === size)
}

/** The number of the first record of a file; undefined when its first line is none. @throws {Error} of node:fs. */
export async function firstSeq(path: string): Promise<number | undefined> {
  await using file = await open(path, 'r')
  const bytes = Buffer.alloc(MAX_LINE_BYTES)
  const { bytesRead } = await file.read(bytes, 0, bytes.length, 0)
  const newline = bytes.subarray(0, bytesRead).indexOf(LINE_FEED)
  return newline < 0 ? undefined : openLine(bytes.subarray(0, newline))?.seq
}

/** @param whole the bytes are the whole file, not only its end. */
export function tailOf(bytes: Buffer, whole: boolean): Tail {
  const ended = endedTail(bytes, whole)
  const { head, damaged } = ended
  const record = openLine(bytes.subarray(bytes.lastIndexOf(LINE_FEED) + 1))
  // With the newline that it is to get, `verify` takes it for a record: no other one may have its number.
  if (damaged || record === undefined || record.hash !== record.computed || !follows(record, head)) {
    return { ...ended, unended: undefined }
  }
  return { head, unended: { seq: record.seq, hash: record.hash }, torn: undefined, damaged }
}

function follows({ seq, prev }: SealedLine, head: Head | undefined): boolean {
  return head === undefined || (seq === head.seq + 1 && prev === head.hash)
}

function endedTail(bytes: Buffer, whole: boolean): Omit<Tail, 'unended'> {
  let end = bytes.length
  // From the last line back to the first record that is one.
  for (;;) {
    const newline = end === 0 ? -1 : bytes.lastIndexOf(LINE_FEED, end - 1)
    if (newline < 0) return { head: undefined, torn: tornOf(bytes), damaged: !whole }
    const start = newline === 0 ? 0 : bytes.lastIndexOf(LINE_FEED, newline - 1) + 1
    const record = start === 0 && !whole ? undefined : openLine(bytes.subarray(start, newline))
    if (record !== undefined) {
      const head = { seq: record.seq, hash: record.hash }
      // It has the form of a record and another content: no crash does that.
      if (record.hash !== record.computed) return { head: undefined, torn: undefined, damaged: true }
      return { head, torn: tornOf(bytes.subarray(newline + 1)), damaged: false }
    }
    end = start
  }
}

export function tornOf(bytes: Uint8Array): Torn | undefined {
  if (bytes.length === 0) return undefined
  return { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
}

const LINE_FEED = 0x0a
// A crash leaves one broken line, or after a power loss some blocks of nothing.
const WINDOW_BYTES = 16 * MAX_LINE_BYTES
