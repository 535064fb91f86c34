/** The load of one process: handshakes on a schedule or one after the other, and what came of them. */

import { setTimeout as delay } from 'node:timers/promises'

import { Histogram } from '../histogram.ts'
import { Connector } from './connect.ts'
import type { ClientOrder, ClientResult } from './messages.ts'

export class Client {
  readonly #order: ClientOrder
  readonly #connector: Connector
  readonly #full = new Histogram()
  readonly #resumed = new Histogram()
  readonly #lateStart = new Histogram()
  readonly #errors = new Map<string, number>()
  #notResumed = 0
  #skipped = 0
  #firstError = ''
  #open = 0
  #done = 0
  #failed = 0
  /** Grows by the share that is to be resumed; at 1 it is one's turn. */
  #share = 0
  readonly #stopped = new AbortController()
  #fromMs = Number.POSITIVE_INFINITY
  #untilMs = Number.POSITIVE_INFINITY

  constructor(order: ClientOrder) {
    this.#order = order
    this.#connector = new Connector(order)
  }

  get done(): number {
    return this.#done
  }

  get failed(): number {
    return this.#failed
  }

  /** One handshake that tells whether there is anybody, and brings a ticket. @throws {Error} */
  async prepare(): Promise<void> {
    await this.#connector.learnSession()
    if (this.#order.resumed > 0 && !this.#connector.hasSession) {
      throw new Error(
        'the server gives no session ticket, so nothing can be resumed: measure with --resumed 0',
      )
    }
  }

  async run(): Promise<ClientResult> {
    const { warmUpMs, measureMs, load } = this.#order
    const startMs = performance.now()
    this.#fromMs = startMs + warmUpMs
    this.#untilMs = this.#fromMs + measureMs
    const measuring = this.#measureCpu()
    await ('perSecond' in load ? this.#openLoop(startMs, load.perSecond) : this.#closedLoop(load.connections))
    const cpuSeconds = await measuring
    return {
      full: plain(this.#full),
      resumed: plain(this.#resumed),
      notResumed: this.#notResumed,
      lateStart: plain(this.#lateStart),
      skipped: this.#skipped,
      errors: Object.fromEntries(this.#errors),
      firstError: this.#firstError,
      cpuSeconds,
      seconds: Math.max(0, this.#untilMs - this.#fromMs) / 1000,
    }
  }

  /** Ends the run now; what was measured counts. */
  stop(): void {
    this.#untilMs = Math.min(this.#untilMs, performance.now())
    this.#stopped.abort()
  }

  /** Handshakes begin when it is their time, however long those before them take. */
  async #openLoop(startMs: number, perSecond: number): Promise<void> {
    const { process, of, timeoutMs } = this.#order
    const intervalMs = 1000 / perSecond
    // The processes take turns: together they are one even schedule.
    let nextMs = startMs + (intervalMs * process) / of
    while (nextMs < this.#untilMs) {
      const nowMs = performance.now()
      if (nowMs < nextMs) {
        // A timer has whole milliseconds: better a little late, and counted from the intended time, than too early.
        await this.#until(nextMs)
        continue
      }
      if (this.#open >= MAX_OPEN) {
        if (nextMs >= this.#fromMs) this.#skipped++
      } else {
        if (nextMs >= this.#fromMs) this.#lateStart.record(nowMs - nextMs)
        void this.#handshake(nextMs)
      }
      nextMs += intervalMs
    }
    const giveUpMs = performance.now() + timeoutMs
    while (this.#open > 0 && performance.now() < giveUpMs) await delay(5)
  }

  async #closedLoop(connections: number): Promise<void> {
    const loop = async (): Promise<void> => {
      while (performance.now() < this.#untilMs) {
        const ok = await this.#handshake(performance.now())
        if (!ok) await delay(FAILED_PAUSE_MS)
      }
    }
    await Promise.all(Array.from({ length: connections }, loop))
  }

  /** @param intendedMs when it should have begun; latency counts from there. @returns false when it failed. */
  async #handshake(intendedMs: number): Promise<boolean> {
    const resume = this.#nextIsResumed()
    this.#open++
    try {
      const { finishedAtMs, resumed } = await this.#connector.perform({ resume, waitForSession: false })
      // An open loop counts what was to begin within the window, a closed one what has ended in it.
      const atMs = 'perSecond' in this.#order.load ? intendedMs : finishedAtMs
      if (atMs >= this.#fromMs && atMs < this.#untilMs) {
        this.#done++
        if (resume && !resumed) this.#notResumed++
        const histogram = resumed ? this.#resumed : this.#full
        histogram.record(finishedAtMs - intendedMs)
      }
      return true
    } catch (error) {
      if (intendedMs >= this.#fromMs) this.#fail(error)
      return false
    } finally {
      this.#open--
    }
  }

  #nextIsResumed(): boolean {
    this.#share += this.#order.resumed
    if (this.#share < 1 - 1e-9) return false
    this.#share -= 1
    return true
  }

  #fail(error: unknown): void {
    this.#failed++
    const name = errorName(error)
    this.#errors.set(name, (this.#errors.get(name) ?? 0) + 1)
    if (this.#firstError === '') this.#firstError = error instanceof Error ? error.message : String(error)
  }

  async #measureCpu(): Promise<number> {
    await this.#until(this.#fromMs)
    const before = process.cpuUsage()
    await this.#until(this.#untilMs)
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1e6
  }

  /** Or until it is stopped. */
  #until(atMs: number): Promise<void> {
    const { signal } = this.#stopped
    return delay(Math.max(0, atMs - performance.now()), undefined, { signal }).catch(() => {})
  }
}

function plain(histogram: Histogram): ClientResult['full'] {
  const { counts, ...rest } = histogram.state()
  return { ...rest, counts: counts.map(([bucket, count]): [number, number] => [bucket, count]) }
}

function errorName(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message
}

// Far more than any listener answers at a time; only against a run that would take all memory.
const MAX_OPEN = 4096
const FAILED_PAUSE_MS = 20
