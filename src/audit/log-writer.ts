/**
 * Lines on their way to the file: collected for some milliseconds, written in order, one write at a time.
 *
 * Nobody waits for the disk here. What cannot be written stays in the buffer and is tried again every second, with the
 * file opened anew when its place is empty; how much may be in the buffer is the caller's to decide.
 */

import { unlink } from 'node:fs/promises'
import { basename } from 'node:path'

import { LogFile } from './log-file.ts'
import type { AuditOptions } from './options.ts'
import { moveAside, rotatedFiles } from './rotated-files.ts'
import { firstSeq } from './tail.ts'

export interface LogWriterOptions {
  /** Where the chain goes on. */
  readonly file: LogFile
  readonly audit: Pick<AuditOptions, 'rotateBytes' | 'keep' | 'fsync'>
  readonly events: LogWriterEvents
}

export interface LogWriterEvents {
  /** There is more room than before. */
  written(): void
  /** The chain goes on in a new file. Removed are, once the next batch is written, all files with records up to `removedThrough`. */
  rotated(full: { readonly file: string; readonly removedThrough: number | undefined }): void
  /** Told of every try that failed, at most once a second. */
  failing(error: Error): void
  /** It can be written again. @param sinceMs `Date.now()` of the first failure. */
  healed(error: Error, sinceMs: number): void
}

export class LogWriter {
  readonly #audit: LogWriterOptions['audit']
  readonly #events: LogWriterEvents
  #file: LogFile
  #lines: string[] = []
  #linesLength = 0
  /** Being written; what is left of it. */
  #batch: Buffer = EMPTY
  /** Of `#batch`, what is in the file already: a disk that becomes full takes a part. */
  #written = 0
  /** What is in the file may not be on the disk, with `fsync: always`. */
  #unsynced = false
  #timer: NodeJS.Timeout | undefined
  #syncTimer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #endPause: (() => void) | undefined
  #placeCheckedAtMs = 0
  #trouble: { readonly error: Error; readonly sinceMs: number } | undefined
  /** Rotated files beyond `keep`. */
  #excess: readonly string[] = []
  #state: 'open' | 'ending' | 'given-up' = 'open'

  constructor({ file, audit, events }: LogWriterOptions) {
    this.#file = file
    this.#audit = audit
    this.#events = events
  }

  /** What is not in the file yet, in UTF-16 units: bytes, as long as names are ASCII. */
  get buffered(): number {
    return this.#linesLength + this.#batch.length - this.#written
  }

  /** What the last try failed with; undefined while the file can be written. */
  get error(): Error | undefined {
    return this.#trouble?.error
  }

  /** @param line with its newline. */
  push(line: string): void {
    this.#lines.push(line)
    this.#linesLength += line.length
    if (this.#timer === undefined && this.#running === undefined) {
      this.#timer = setTimeout(() => this.#start(), COLLECT_MS)
    }
  }

  /**
   * Writes what is buffered, and closes the file.
   *
   * @param limitMs a disk that stays full may not keep the process from ending.
   * @returns whether everything is in the file.
   */
  async end(limitMs: number): Promise<boolean> {
    this.#state = 'ending'
    this.#endPause?.()
    const limit = setTimeout(() => {
      this.#state = 'given-up'
      this.#endPause?.()
    }, limitMs)
    this.#start()
    await this.#running
    clearTimeout(limit)
    clearTimeout(this.#syncTimer)
    if (this.#audit.fsync !== 'never') await this.#file.sync().catch((error) => this.#fail(error))
    await this.#file.close().catch((error) => this.#fail(error))
    return this.buffered === 0
  }

  #start(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
  }

  async #run(): Promise<void> {
    // At the end it is synced anyway.
    while (this.#state !== 'given-up' && (this.buffered > 0 || (this.#unsynced && this.#state === 'open'))) {
      try {
        await this.#checkPlace()
        if (this.buffered > 0) await this.#writeBatch()
        // There is room, whether or not it can be synced.
        this.#events.written()
        if (this.#unsynced) await this.#syncNow()
        this.#heal()
        await this.#removeExcess()
      } catch (error) {
        this.#fail(error)
        await this.#pause()
      }
    }
  }

  async #writeBatch(): Promise<void> {
    if (this.#batch.length === 0) {
      if (this.#file.size >= this.#audit.rotateBytes) await this.#rotate()
      this.#batch = Buffer.from(this.#lines.join(''), 'utf8')
      this.#lines = []
      this.#linesLength = 0
    }
    while (this.#written < this.#batch.length) {
      this.#written += await this.#file.append(this.#batch.subarray(this.#written))
    }
    this.#batch = EMPTY
    this.#written = 0
    if (this.#audit.fsync === 'always') this.#unsynced = true
    else if (this.#audit.fsync !== 'never') this.#syncSoon(this.#audit.fsync.everyMs)
  }

  async #syncNow(): Promise<void> {
    await this.#file.sync()
    this.#unsynced = false
  }

  /** A file that was removed takes writes as before, and nobody will ever read them. */
  async #checkPlace(): Promise<void> {
    const nowMs = performance.now()
    if (this.#trouble === undefined && nowMs - this.#placeCheckedAtMs < PLACE_CHECK_MS) return
    this.#placeCheckedAtMs = nowMs
    if (await this.#file.isInPlace()) return
    const lost = new MissingFile(this.#file.path)
    this.#fail(lost)
    const file = await openEmpty(this.#file.path)
    await this.#file.close().catch(() => {})
    this.#file = file
    // What was written of the last line went with the other file: this one gets the line from its beginning.
    this.#batch = this.#batch.subarray(this.#batch.subarray(0, this.#written).lastIndexOf(LINE_FEED) + 1)
    this.#written = 0
  }

  async #rotate(): Promise<void> {
    const { path } = this.#file
    if (this.#audit.fsync !== 'never') await this.#file.sync()
    const full = await moveAside(path)
    const file = await LogFile.open(path)
    await this.#file.close().catch(() => {})
    this.#file = file
    const removedThrough = await this.#findExcess(path)
    this.#events.rotated({ file: basename(full), removedThrough })
  }

  /** @returns the last record of the files that are too many. */
  async #findExcess(path: string): Promise<number | undefined> {
    const { keep } = this.#audit
    if (keep === undefined) return undefined
    const files = await rotatedFiles(path)
    const [oldest] = files.slice(-keep)
    if (oldest === undefined || files.length <= keep) return undefined
    const seq = await firstSeq(oldest.path)
    if (seq === undefined) return undefined
    this.#excess = files.slice(0, -keep).map((file) => file.path)
    return seq - 1
  }

  /** By now the record that says so is in the file. */
  async #removeExcess(): Promise<void> {
    const paths = this.#excess
    this.#excess = []
    for (const path of paths) await unlink(path)
  }

  #syncSoon(everyMs: number): void {
    if (this.#syncTimer !== undefined) return
    this.#syncTimer = setTimeout(() => {
      this.#syncTimer = undefined
      this.#file.sync().catch((error) => this.#fail(error))
    }, everyMs)
    this.#syncTimer.unref()
  }

  #fail(reason: unknown): void {
    const error = reason instanceof Error ? reason : new Error(String(reason))
    this.#trouble ??= { error, sinceMs: Date.now() }
    this.#events.failing(error)
  }

  #heal(): void {
    const trouble = this.#trouble
    if (trouble === undefined) return
    this.#trouble = undefined
    this.#events.healed(trouble.error, trouble.sinceMs)
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer)
        this.#endPause = undefined
        resolve()
      }
      const timer = setTimeout(end, this.#state === 'open' ? RETRY_MS : LAST_RETRY_MS)
      this.#endPause = end
    })
  }
}

class MissingFile extends Error {
  readonly code = 'ENOENT'

  constructor(path: string) {
    super(`${path} was removed or replaced`)
  }
}

/** What stands at the place is somebody else's, and is kept. */
async function openEmpty(path: string): Promise<LogFile> {
  const file = await LogFile.open(path)
  if (file.size === 0) return file
  await file.close()
  await moveAside(path)
  return LogFile.open(path)
}

const EMPTY = Buffer.alloc(0)
const LINE_FEED = 0x0a
// Many signatures end within this; nobody waits for their records.
const COLLECT_MS = 5
const PLACE_CHECK_MS = 1000
const RETRY_MS = 1000
const LAST_RETRY_MS = 100
