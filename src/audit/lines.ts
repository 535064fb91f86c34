/** A file as lines of bytes: no decoding, no other line ends than the one that the log writes. */

import { type FileHandle, open } from 'node:fs/promises'

export interface Line {
  /** Without the newline. Valid until the next line is asked for. */
  readonly bytes: Buffer
  /** 1-based. */
  readonly number: number
  /** false: the file ended before the newline came. */
  readonly whole: boolean
}

/** @throws {Error} of node:fs. */
export async function* linesOf(path: string): AsyncGenerator<Line> {
  await using file = await open(path, 'r')
  let rest: Buffer = Buffer.alloc(0)
  let number = 0
  for (;;) {
    const chunk = await nextChunk(file, rest.length > 0)
    if (chunk.length === 0) break
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let start = 0
    for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, start)) {
      yield { bytes: bytes.subarray(start, end), number: ++number, whole: true }
      start = end + 1
    }
    rest = bytes.subarray(start)
  }
  if (rest.length > 0) yield { bytes: rest, number: ++number, whole: false }
}

/** @param hopeful the file seems to end within a line: it may be being written just now. */
async function nextChunk(file: FileHandle, hopeful: boolean): Promise<Buffer> {
  for (let tries = hopeful ? HOPEFUL_TRIES : 1; tries > 0; tries--) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(CHUNK_BYTES), 0, CHUNK_BYTES, null)
    if (bytesRead > 0) return buffer.subarray(0, bytesRead)
    if (tries > 1) await new Promise((resolve) => setTimeout(resolve, HOPEFUL_PAUSE_MS))
  }
  return Buffer.alloc(0)
}

const LINE_FEED = 0x0a
const CHUNK_BYTES = 1024 * 1024
const HOPEFUL_TRIES = 5
const HOPEFUL_PAUSE_MS = 20
