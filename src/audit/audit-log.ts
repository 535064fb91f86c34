/**
 * The audit log: every use of a key as a record of one hash chain, written without anybody waiting for it.
 *
 * Records are chained when they are made, on the main thread: two SHA-256 over some hundred bytes cost less than handing
 * the record to another thread would. Writing is `LogWriter`'s, and what the log proves is in README.md.
 */

import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'

import type { KeyUse } from '../hsm/key-use.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { SigningKey } from '../signing.ts'
import { Chain, type Head, jsonFields } from './chain.ts'
import { Checkpoints } from './checkpoints.ts'
import type { FileLock } from './file-lock.ts'
import { keyUseFields, keyUseType } from './key-use-record.ts'
import { LogWriter } from './log-writer.ts'
import { openPlace } from './open-place.ts'
import type { AuditOptions } from './options.ts'
import type { RecordType } from './record.ts'

export interface AuditLogOptions {
  readonly audit: AuditOptions
  readonly version: string
  readonly config: { readonly file: string; readonly sha256: string }
  readonly log: Log
  readonly metrics: Metrics
}

/** What /status shows of it. */
export interface AuditStatus {
  readonly file: string
  readonly head: Head
  readonly bufferedBytes: number
  readonly lost: number
  readonly error: string | undefined
}

export class AuditLog {
  readonly #options: AuditLogOptions
  readonly #lock: FileLock
  readonly #chain: Chain
  readonly #writer: LogWriter
  #checkpoints: Checkpoints | undefined
  /** Not yet recorded. */
  #lost = { count: 0, sinceMs: 0 }
  #lostInAll = 0
  readonly #waiting = new Set<() => void>()
  #failing = false
  #state: 'open' | 'stopping' | 'closed' = 'open'
  #closing: Promise<void> | undefined

  /**
   * Takes the file, reads where its chain ends, and goes on from there.
   *
   * @throws {AuditError} `ERR_AUDIT_LOCKED`, `ERR_AUDIT_FILE`.
   */
  static async open(options: AuditLogOptions): Promise<AuditLog> {
    const { audit, version, config, log } = options
    const place = await openPlace(audit.file)
    const opened = new AuditLog(options, place)
    const { torn, damaged } = place
    if (torn !== undefined) log.warn({ file: audit.file, ...torn }, 'audit log ends in a torn record')
    if (damaged !== undefined) {
      log.error({ file: damaged }, 'audit log is damaged: kept under this name, a new chain begins')
    }
    const chain = randomBytes(16).toString('hex')
    const process_ = { version, node: process.version, hostname: hostname(), pid: process.pid }
    opened.#append('start', jsonFields({ chain, ...process_, config, torn, damaged }))
    return opened
  }

  private constructor(options: AuditLogOptions, place: Awaited<ReturnType<typeof openPlace>>) {
    this.#options = options
    this.#lock = place.lock
    this.#chain = new Chain(place.head)
    this.#writer = new LogWriter({
      file: place.file,
      audit: options.audit,
      events: {
        written: () => this.#written(),
        rotated: (full) => {
          this.#append('rotation', jsonFields(full))
          this.#checkpoints?.soon()
        },
        failing: (error) => this.#writeFailed(error),
        healed: (error, sinceMs) => this.#healed(error, sinceMs),
      },
    })
    if (place.unended) this.#writer.push('\n')
    options.metrics.auditUp.set(1)
    // A limit on file sizes is to be an error of a write like any other, not the end of the process (setrlimit(2)).
    process.on('SIGXFSZ', ignoreSignal)
  }

  /** From now on checkpoints are signed. @param key of the options' `checkpoint`. */
  signWith(key: SigningKey, signTimeoutMs: number): void {
    const { audit, log, metrics } = this.#options
    if (audit.checkpoint === undefined) return
    this.#checkpoints = new Checkpoints({
      checkpoint: audit.checkpoint,
      key,
      signTimeoutMs,
      chain: this.#chain,
      record: (fields) => this.#append('checkpoint', fields),
      log,
      metrics,
    })
    // What is in the chain so far.
    this.#checkpoints.recorded()
  }

  /** From now on the process runs with this configuration. */
  reloaded(config: AuditLogOptions['config']): void {
    if (this.#state !== 'closed') this.#append('reload', jsonFields({ config }))
  }

  /** Never throws and never waits. What finds no room is counted, and the number recorded as soon as there is. */
  record(use: KeyUse): void {
    if (this.#state === 'closed') return
    if (this.#writer.buffered >= this.#hardLimit) {
      if (this.#lost.count++ === 0) this.#lost.sinceMs = Date.now()
      this.#lostInAll++
      this.#options.metrics.auditLost.inc()
      return
    }
    this.#append(keyUseType(use), keyUseFields(use))
    if (use.kind !== 'signature' || use.reason !== 'checkpoint') this.#checkpoints?.recorded()
  }

  /** Signatures may be asked for: their records will fit. Always so, unless `overflow` is `block`. */
  get hasRoom(): boolean {
    return this.#options.audit.overflow === 'count' || this.#writer.buffered < this.#options.audit.bufferBytes
  }

  /** Resolves when there may be room again; with false when `limitMs` have passed before. */
  room(limitMs: number): Promise<boolean> {
    const { auditWaiting } = this.#options.metrics
    auditWaiting.inc()
    return new Promise((resolve) => {
      const end = (inTime: boolean): void => {
        clearTimeout(timer)
        this.#waiting.delete(wake)
        auditWaiting.dec()
        resolve(inTime)
      }
      const wake = (): void => end(true)
      const timer = setTimeout(() => end(false), limitMs)
      this.#waiting.add(wake)
    })
  }

  status(): AuditStatus {
    return {
      file: this.#options.audit.file,
      head: this.#chain.head,
      bufferedBytes: this.#writer.buffered,
      lost: this.#lostInAll,
      error: this.#writer.error?.message,
    }
  }

  /** Records the end and has it signed; the keys must still be there. Uses after it are still recorded. Idempotent. */
  async stop(): Promise<void> {
    if (this.#state !== 'open') return
    this.#state = 'stopping'
    this.#append('stop', '')
    this.#checkpoints?.recorded()
    await this.#checkpoints?.finish()
  }

  /** Writes what there is and gives the file back. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const { log, audit } = this.#options
    if (this.#state === 'open') this.#append('stop', '')
    this.#state = 'closed'
    this.#wakeWaiting()
    const written = await this.#writer.end(CLOSE_LIMIT_MS)
    process.off('SIGXFSZ', ignoreSignal)
    await this.#lock.release()
    // Who collects the log elsewhere has the head there too: `audit verify --expect-head`.
    const { seq, hash } = this.#chain.head
    if (written) log.info({ file: audit.file, seq, head: hash }, 'audit log closed')
    else
      log.error(
        { file: audit.file, seq, head: hash },
        'audit log closed with records that could not be written',
      )
  }

  /**
   * With `block`, signatures wait at the limit, and only what is under way by then comes on top; test signatures and logins
   * do not wait, and a disk may stay full for days.
   */
  get #hardLimit(): number {
    const { overflow, bufferBytes } = this.#options.audit
    return overflow === 'count' ? bufferBytes : 4 * bufferBytes
  }

  #append(type: RecordType, fields: string): void {
    if (this.#lost.count > 0) this.#recordLoss()
    this.#writer.push(this.#chain.append(type, fields))
    this.#options.metrics.auditRecords.labels(type).inc()
  }

  #recordLoss(): void {
    const { count, sinceMs } = this.#lost
    this.#lost = { count: 0, sinceMs: 0 }
    this.#append('loss', jsonFields({ records: count, since: new Date(sinceMs).toISOString() }))
  }

  #written(): void {
    this.#options.metrics.auditBuffered.set(this.#writer.buffered)
    if (this.#lost.count > 0) this.#recordLoss()
    this.#wakeWaiting()
  }

  /** They look again whether there is room, or their deadline has passed. */
  #wakeWaiting(): void {
    for (const wake of [...this.#waiting]) wake()
  }

  #writeFailed(error: Error): void {
    const { log, metrics, audit } = this.#options
    const code = errorCode(error)
    metrics.auditErrors.labels(code).inc()
    metrics.auditUp.set(0)
    metrics.auditBuffered.set(this.#writer.buffered)
    // A disk that is full for an hour is one line.
    if (!this.#failing) {
      const { overflow, bufferBytes } = audit
      log.error(
        { file: audit.file, code, reason: error.message, overflow, bufferBytes },
        'audit log cannot be written',
      )
    }
    this.#failing = true
  }

  #healed(error: Error, sinceMs: number): void {
    this.#failing = false
    this.#options.metrics.auditUp.set(1)
    this.#append('trouble', jsonFields({ code: errorCode(error), since: new Date(sinceMs).toISOString() }))
    this.#options.log.info({ file: this.#options.audit.file }, 'audit log can be written again')
  }
}

function errorCode(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : 'unknown'
}

function ignoreSignal(): void {}

const CLOSE_LIMIT_MS = 3000
