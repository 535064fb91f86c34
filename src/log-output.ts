/**
 * Standard output as a log's destination: whole lines, in order, and nobody waits for whoever reads them.
 *
 * A proxy outlives its log. A full disk, or a collector that has stopped reading, costs lines and not connections: what
 * cannot be written is kept up to a bound and tried again, what comes after that is lost, and a line says how many once
 * lines get out again. A pipe or a terminal is opened anew so that a write to it can be told not to block; the
 * descriptor that was inherited stays as it is, since other programs may share it. A socket, which is what systemd's journal
 * gives, cannot be opened anew; Node makes it one that does not block when `process.stdout` is used first (cli/main.ts).
 */

import { constants, fstatSync, openSync, write, writeSync } from 'node:fs'

export interface OutputOptions {
  readonly fd: number
  /** At once: a line has been written when write() returns, if it can be. Buffered: after 250 ms, or with others. */
  readonly mode: 'at once' | 'buffered'
  /** A log line for this many that were lost. */
  readonly lostText: (lines: number) => string
}

export class LogOutput {
  readonly #options: OutputOptions
  #target: Target | undefined
  /** Of whole lines. */
  readonly #batches: Batch[] = []
  #queuedBytes = 0
  /** Since a line last told of them. */
  #lost = 0
  #lostInAll = 0
  /** Of the first batch, from when it is written first: what is left of it. */
  #chunk: Buffer | undefined
  /** Milliseconds of the monotonic clock; undefined: no asynchronous write is under way. */
  #writingSinceMs: number | undefined
  #failed = false
  #timer: NodeJS.Timeout | undefined

  constructor(options: OutputOptions) {
    this.#options = options
  }

  /** Lines that were not taken, since the start. */
  get lostLines(): number {
    return this.#lostInAll
  }

  write(line: string): void {
    const bytes = Buffer.byteLength(line)
    if (this.#queuedBytes === 0) this.#tellLost()
    // Once a line is lost, so is all until the queue is empty: one gap, and it is told.
    if (this.#lost > 0 || this.#queuedBytes + bytes > MAX_QUEUED_BYTES) {
      this.#lost += 1
      this.#lostInAll += 1
      return
    }
    const atOnce = this.#options.mode === 'at once'
    if (!atOnce && !this.#failed && this.#queuedBytes + bytes > this.#batchBytes) this.#writeOut()
    this.#enqueue(line, bytes)
    if (this.#failed) return
    if (atOnce) this.#writeOut()
    else this.#later(FLUSH_INTERVAL_MS)
  }

  /** Writes what is left, for half a second at most. For the end: this thread waits, and no write is to follow. */
  flush(): void {
    if (this.#writingSinceMs !== undefined) {
      // Where another thread is stuck, this one would be as well; else that one does its part.
      if (performance.now() - this.#writingSinceMs > STUCK_MS) return
      this.#written(this.#next().length)
    }
    const deadlineMs = performance.now() + FLUSH_LIMIT_MS
    while (this.#queuedBytes > 0) {
      const error = this.#writeSome()
      if (error === undefined) continue
      if (!isFull(error) || performance.now() >= deadlineMs) return
      sleep(FULL_RETRY_MS)
    }
  }

  get #batchBytes(): number {
    return this.#target?.isSlow === true ? SLOW_BATCH_BYTES : ATOMIC_BYTES
  }

  #enqueue(line: string, bytes: number): void {
    const last = this.#batches.at(-1)
    // Nothing is added to what is being written.
    const isOpen = last !== undefined && (this.#batches.length > 1 || this.#chunk === undefined)
    if (isOpen && last.bytes + bytes <= this.#batchBytes) {
      last.text += line
      last.bytes += bytes
    } else this.#batches.push({ text: line, bytes })
    this.#queuedBytes += bytes
  }

  #tellLost(): void {
    if (this.#lost === 0) return
    const line = this.#options.lostText(this.#lost)
    this.#lost = 0
    this.#enqueue(line, Buffer.byteLength(line))
  }

  #writeOut(): void {
    if (this.#writingSinceMs !== undefined) return
    this.#target ??= openTarget(this.#options)
    if (this.#target.isSlow) {
      this.#writeBeside(this.#target.fd)
      return
    }
    while (this.#queuedBytes > 0) {
      const error = this.#writeSome()
      if (error !== undefined) {
        this.#retry(error)
        return
      }
    }
  }

  /** One write. @returns why there was none. */
  #writeSome(): NodeJS.ErrnoException | undefined {
    this.#target ??= openTarget(this.#options)
    try {
      this.#written(writeSync(this.#target.fd, this.#next()))
      return undefined
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error))
    }
  }

  /** On another thread: for files, whose disk may be slow, at the rate of requests. */
  #writeBeside(fd: number): void {
    if (this.#queuedBytes === 0) return
    this.#writingSinceMs = performance.now()
    const chunk = this.#next()
    write(fd, chunk, (error, bytes) => {
      this.#writingSinceMs = undefined
      if (this.#chunk !== chunk) return // flush() has counted it
      if (error !== null) {
        this.#retry(error)
        return
      }
      this.#written(bytes)
      if (this.#batches.length > 1 || this.#chunk !== undefined) this.#writeOut()
      else if (this.#batches.length > 0) this.#later(FLUSH_INTERVAL_MS)
    })
  }

  /** What is to be written of the first batch. */
  #next(): Buffer {
    this.#chunk ??= Buffer.from(this.#batches[0]?.text ?? '')
    return this.#chunk
  }

  #written(bytes: number): void {
    this.#failed = false
    this.#queuedBytes -= bytes
    const rest = this.#next().subarray(bytes)
    this.#chunk = rest.length > 0 ? rest : undefined
    if (this.#chunk === undefined) this.#batches.shift()
    if (this.#queuedBytes === 0) this.#tellLost()
  }

  /** A full pipe is tried with the next line as well; a full disk is not, which would cost a system call a line. */
  #retry(error: NodeJS.ErrnoException): void {
    this.#failed = !isFull(error)
    this.#later(this.#failed ? FAILED_RETRY_MS : FULL_RETRY_MS)
  }

  #later(ms: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#writeOut()
    }, ms).unref()
  }
}

interface Batch {
  text: string
  bytes: number
}

interface Target {
  readonly fd: number
  /** Writes to it may take their time, and there is somebody who must not wait for them. */
  readonly isSlow: boolean
}

function openTarget({ fd, mode }: OutputOptions): Target {
  const slow = { fd, isSlow: mode === 'buffered' }
  try {
    const stats = fstatSync(fd)
    if (stats.isSocket()) return { fd, isSlow: false }
    if (!stats.isFIFO() && !stats.isCharacterDevice()) return slow
    const flags = constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY
    return { fd: openSync(`/proc/self/fd/${fd}`, flags), isSlow: false }
  } catch {
    // Not Linux, or a pipe of another user: as it was inherited then.
    return slow
  }
}

/** The reader is behind. */
function isFull({ code }: NodeJS.ErrnoException): boolean {
  return code === 'EAGAIN'
}

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

// PIPE_BUF: a pipe takes that much as a whole or not at all, so that lines of several threads do not mix.
const ATOMIC_BYTES = 4_096
const SLOW_BATCH_BYTES = 8_192
// Some thousand lines for each thread that logs.
const MAX_QUEUED_BYTES = 1_048_576
const FLUSH_INTERVAL_MS = 250
const FULL_RETRY_MS = 10
const FAILED_RETRY_MS = 500
const FLUSH_LIMIT_MS = 500
const STUCK_MS = 500
