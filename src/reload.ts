/**
 * Changes of the configuration while Sealgate runs: when one is tried, and what is known of the last one.
 *
 *   idle ──HUP, or a file has changed──▶ reloading ──▶ idle: taken up, or refused with its reasons
 *                                            └── asked again meanwhile: once more, when this one has ended
 *
 * What is applied, and how, is app.ts's to know: a state that is wrong in any way throws there, and nothing changes.
 */

import type { Config } from './config/config.ts'
import { type Contents, FileWatch } from './config/file-watch.ts'
import { readConfigText, resolveConfig } from './config/load.ts'
import { ConfigError, HsmError, problemText } from './errors.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics/metrics.ts'

/** `files`: those that the configuration names; the configuration itself is taken as it was read last. */
export type ReloadCause = 'HUP' | 'configuration' | 'files'

/** What /status shows. */
export interface ReloadStatus {
  /** ISO 8601. */
  readonly time: string
  readonly cause: ReloadCause | 'client CAs'
  readonly result: 'ok' | 'refused'
  readonly tookMs: number
  /** Why it was refused; what to do about it. */
  readonly reasons: readonly string[]
}

export interface ReloadsOptions {
  readonly config: Config
  /**
   * Puts the configuration into force, or nothing of it.
   * @returns what has changed, for the log. @throws what is wrong with it. `signal`: it is not wanted any more.
   */
  readonly apply: (next: Config, signal: AbortSignal) => Promise<object>
  readonly log: Log
  readonly metrics: Metrics
}

export class Reloads {
  readonly #options: ReloadsOptions
  readonly #closing = new AbortController()
  #config: Config
  #watch: FileWatch | undefined
  #next: ReloadCause | undefined
  #begun = false
  #running: Promise<void> | undefined
  #again: NodeJS.Timeout | undefined
  #last: ReloadStatus | undefined
  /** What has been changed and is not in force. */
  readonly #refused = new Set<'configuration' | 'files' | 'client CAs'>()
  #lastOk: string | undefined

  constructor(options: ReloadsOptions) {
    this.#options = options
    this.#config = options.config
    this.#watch = this.#startWatch()
    options.metrics.reloads.labels('ok').inc(0)
    options.metrics.reloads.labels('refused').inc(0)
    options.metrics.lastReloadSuccessful.set(1)
    options.metrics.lastReloadSuccess.set(Date.now() / 1000)
  }

  /** Everything has started: what was asked for meanwhile is done now. */
  begin(): void {
    this.#begun = true
    if (this.#next !== undefined) this.request(this.#next)
  }

  /** Reloads now, or once more as soon as the one under way has ended. */
  request(cause: ReloadCause): void {
    if (this.#closing.signal.aborted) return
    // Of several that wait, the one that takes up most.
    if (this.#next === undefined || this.#next === 'files') this.#next = cause
    if (!this.#begun) return
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
  }

  /** `lastOk`: ISO 8601, undefined since the start. */
  status(): {
    readonly last: ReloadStatus | undefined
    readonly lastOk: string | undefined
    readonly running: boolean
  } {
    return { last: this.#last, lastOk: this.#lastOk, running: this.#running !== undefined }
  }

  /** Of files that are looked after elsewhere. @param refused why; undefined: they were taken up. */
  note(cause: ReloadStatus['cause'], refused: readonly string[] | undefined, tookMs = 0): void {
    const result = refused === undefined ? 'ok' : 'refused'
    const time = new Date().toISOString()
    this.#last = { time, cause, result, tookMs: Math.round(tookMs), reasons: refused ?? [] }
    const { reloads, lastReloadSuccessful, lastReloadSuccess } = this.#options.metrics
    reloads.labels(result).inc()
    const part = cause === 'HUP' ? 'configuration' : cause
    if (result === 'refused') this.#refused.add(part)
    else if (part === 'configuration') this.#refused.clear()
    else this.#refused.delete(part)
    lastReloadSuccessful.set(this.#refused.size === 0 ? 1 : 0)
    if (result === 'refused') return
    this.#lastOk = time
    lastReloadSuccess.set(Date.now() / 1000)
  }

  /** Gives up what is under way. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort()
    clearTimeout(this.#again)
    this.#watch?.close()
    await this.#running
  }

  async #run(): Promise<void> {
    while (this.#next !== undefined && !this.#closing.signal.aborted) {
      const cause = this.#next
      this.#next = undefined
      await this.#reload(cause)
    }
  }

  async #reload(cause: ReloadCause): Promise<void> {
    const { log } = this.#options
    clearTimeout(this.#again)
    const startedMs = performance.now()
    // Before anything is read: what is written from now on is another change.
    const seen = this.#watch?.contents(watched(this.#config))
    try {
      const next = resolveConfig(cause === 'files' ? this.#config : readConfigText(this.#config.file))
      const changes = await this.#options.apply(next, this.#closing.signal)
      this.#took(next, seen)
      const tookMs = performance.now() - startedMs
      this.note(cause, undefined, tookMs)
      log.info({ cause, tookMs: Math.round(tookMs), ...changes }, 'reloaded')
    } catch (error) {
      if (this.#closing.signal.aborted) return
      if (seen !== undefined) this.#watch?.accept(seen)
      const reasons = reasonsOf(error)
      const known = JSON.stringify(reasons) === JSON.stringify(this.#last?.reasons)
      this.note(cause, reasons, performance.now() - startedMs)
      const level = known && cause === 'files' ? 'debug' : 'error'
      log[level]({ cause, reasons }, 'not reloaded: the old configuration goes on')
      if (cause !== 'HUP' && healsByItself(error)) {
        this.#again = setTimeout(() => this.request(cause), AGAIN_MS).unref()
      }
    }
  }

  #took(next: Config, seen: Contents | undefined): void {
    const { reload } = this.#config
    this.#config = next
    if (JSON.stringify(reload) !== JSON.stringify(next.reload)) {
      this.#watch?.close()
      this.#watch = this.#startWatch()
      return
    }
    if (this.#watch === undefined || seen === undefined) return
    const fresh = this.#watch.contents(watched(next).filter((file) => !seen.has(file)))
    const kept = watched(next).flatMap((file): [string, string][] => {
      const content = seen.get(file) ?? fresh.get(file)
      return content === undefined ? [] : [[file, content]]
    })
    this.#watch.accept(new Map(kept))
  }

  #startWatch(): FileWatch | undefined {
    const { file, reload } = this.#config
    if (reload.watch === 'off') return undefined
    return new FileWatch(watched(this.#config), {
      intervalMs: reload.intervalMs,
      onChange: (changed) => this.request(changed.includes(file) ? 'configuration' : 'files'),
    })
  }
}

/** CA and CRL files of clients are looked after by tls/client-authentication.ts. */
function watched({ file, reload, certificates }: Config): readonly string[] {
  const chains = certificates.map(({ certificate }) => certificate.file)
  return [...new Set(reload.watch === 'all' ? [file, ...chains] : chains)]
}

function reasonsOf(error: unknown): readonly string[] {
  if (error instanceof ConfigError) return error.problems.map(problemText)
  if (error instanceof HsmError && error.errors.length > 0) return error.message.split('\n')
  return [error instanceof Error ? error.message : String(error)]
}

/** An HSM that is away comes back; a key that is not there yet may be on its way. A PIN is not tried again. */
function healsByItself(error: unknown): boolean {
  if (!(error instanceof HsmError)) return false
  return ![error, ...error.errors].some((each) => each instanceof HsmError && each.code === 'ERR_HSM_PIN')
}

/** Nobody is told that an HSM is back that no host of ours looks for. */
const AGAIN_MS = 60_000
