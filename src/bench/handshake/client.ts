/**
 * The load of one process: what it begins and when, and what came of it.
 *
 * The handshakes themselves are made by the addon (native/load_client.h), on this process's loop: one with node:tls
 * costs several times the CPU, and a generator must not need more than the server that it measures.
 */

import { setTimeout as delay } from 'node:timers/promises'

import { LOAD_OUTCOME, type LoadClient, loadAddon, type NativeLoadTaken } from '../../native/addon.ts'
import { Histogram } from '../histogram.ts'
import type { ClientOrder, ClientResult } from './messages.ts'
import { loadOptions, loadPlan } from './native-load.ts'

export class Client {
  readonly #order: ClientOrder
  readonly #load: LoadClient
  readonly #full = new Histogram()
  readonly #resumed = new Histogram()
  readonly #lateStart = new Histogram()
  readonly #errors = new Map<string, number>()
  #notResumed = 0
  #skipped = 0
  #firstError = ''
  #done = 0
  #failed = 0
  readonly #stopped = new AbortController()
  /** `performance.now()` at the start; records count from there, as what follows does. */
  #startMs = 0
  readonly #fromMs: number
  #untilMs: number

  /** @throws {NativeError} `ERR_NATIVE_OPENSSL` when the CA is no certificate; `ERR_NATIVE_LOAD` */
  constructor(order: ClientOrder) {
    this.#order = order
    this.#fromMs = order.warmUpMs
    this.#untilMs = order.warmUpMs + order.measureMs
    const { LoadClient } = loadAddon()
    this.#load = new LoadClient(loadOptions(order))
  }

  get done(): number {
    return this.#done
  }

  get failed(): number {
    return this.#failed
  }

  /** One handshake that tells whether there is anybody, and brings a ticket. @throws {Error} */
  async prepare(): Promise<void> {
    this.#load.probe()
    let taken = this.#load.take()
    while (taken.open > 0) {
      await delay(PROBE_POLL_MS)
      taken = this.#load.take()
    }
    const [error] = taken.errors
    if (error !== undefined) throw new Error(error)
    if (this.#order.resumed > 0 && !taken.hasTicket) {
      throw new Error(
        'the server gives no session ticket, so nothing can be resumed: measure with --resumed 0',
      )
    }
  }

  async run(): Promise<ClientResult> {
    this.#startMs = performance.now()
    this.#load.start(loadPlan(this.#order))
    const taking = setInterval(() => this.#count(this.#load.take()), TAKE_MS)
    const cpuSeconds = await this.#measureCpu()
    this.#load.stop()
    await this.#lastOnes()
    clearInterval(taking)
    this.#load.close()
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
    this.#untilMs = Math.min(this.#untilMs, performance.now() - this.#startMs)
    this.#stopped.abort()
  }

  async #measureCpu(): Promise<number> {
    await this.#until(this.#fromMs)
    const before = process.cpuUsage()
    await this.#until(this.#untilMs)
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1e6
  }

  /** Handshakes that were begun in time and are still under way: each of them ends within the time limit. */
  async #lastOnes(): Promise<void> {
    let taken = this.#load.take()
    for (; taken.open > 0; taken = this.#load.take()) {
      this.#count(taken)
      await delay(TAKE_MS)
    }
    this.#count(taken)
  }

  #count({ records, errors }: NativeLoadTaken): void {
    for (let at = 0; at < records.length; at += FIELDS) {
      const [intendedMs = 0, startedMs = 0, finishedMs = 0, outcome = 0] = records.subarray(at, at + FIELDS)
      this.#countOne({ intendedMs, startedMs, finishedMs, outcome }, errors)
    }
  }

  #countOne(
    { intendedMs, startedMs, finishedMs, outcome }: LoadRecord,
    errors: NativeLoadTaken['errors'],
  ): void {
    const open = 'perSecond' in this.#order.load
    const begunInTime = this.#isInTime(intendedMs)
    if (outcome === LOAD_OUTCOME.skipped) {
      if (begunInTime) this.#skipped++
      return
    }
    if (open && begunInTime) this.#lateStart.record(startedMs - intendedMs)
    if (outcome >= LOAD_OUTCOME.failed) {
      if (begunInTime) this.#fail(errors[outcome - LOAD_OUTCOME.failed] ?? '')
      return
    }
    // An open loop counts what was to begin within the window, a closed one what has ended in it.
    if (!(open ? begunInTime : this.#isInTime(finishedMs))) return
    this.#done++
    if (outcome === LOAD_OUTCOME.ticketRefused) this.#notResumed++
    const histogram = outcome === LOAD_OUTCOME.resumed ? this.#resumed : this.#full
    histogram.record(finishedMs - intendedMs)
  }

  #isInTime(ms: number): boolean {
    return ms >= this.#fromMs && ms < this.#untilMs
  }

  #fail(reason: string): void {
    this.#failed++
    this.#errors.set(reason, (this.#errors.get(reason) ?? 0) + 1)
    if (this.#firstError === '') this.#firstError = reason
  }

  /** Or until it is stopped. */
  #until(sinceStartMs: number): Promise<void> {
    const { signal } = this.#stopped
    const ms = Math.max(0, this.#startMs + sinceStartMs - performance.now())
    return delay(ms, undefined, { signal }).catch(() => {})
  }
}

interface LoadRecord {
  readonly intendedMs: number
  readonly startedMs: number
  readonly finishedMs: number
  /** LOAD_OUTCOME */
  readonly outcome: number
}

function plain(histogram: Histogram): ClientResult['full'] {
  const { counts, ...rest } = histogram.state()
  return { ...rest, counts: counts.map(([bucket, count]): [number, number] => [bucket, count]) }
}

/** Of one record in `NativeLoadTaken.records`. */
const FIELDS = 4
const TAKE_MS = 50
const PROBE_POLL_MS = 2
