/**
 * The main thread's side of the HTTP workers: starts them, asks them, ends them.
 *
 * A worker that crashes takes its connections with it and is replaced after a pause; TLS learns of the new
 * receiver through `onReceivers`.
 */

import { isDeepStrictEqual } from 'node:util'
import { Worker } from 'node:worker_threads'
import { AggregatorRegistry } from 'prom-client'
import type { Log } from '../log.ts'
import type { FromWorker, MetricsJson, ToWorker, WorkerOptions } from './messages.ts'

export interface HttpWorkersOptions {
  readonly count: number
  readonly worker: WorkerOptions
  readonly log: Log
  /** The receivers that take connections now; called after each change once `start()` has ended. */
  readonly onReceivers: (receiverIds: readonly number[]) => void
  /** The thread's code; default: worker.js (or .ts) beside this file. */
  readonly entry?: URL
}

/** Of a worker that does not answer the scrape has what it said last, and nobody waits for it. */
const ANSWER_TIMEOUT_MS = 1_000
/** A worker that crashes at once, again and again, must not take the machine with it. */
const RESTART_PAUSE_MS = 500

export class HttpWorkers {
  readonly #options: HttpWorkersOptions
  /** What a worker is started with, now or later. */
  #worker: WorkerOptions
  readonly #slots: Slot[] = []
  #state: 'new' | 'running' | 'draining' | 'closed' = 'new'
  #requests = 0
  /** What workers that have gone had counted: a counter that went back would look like a restart of Sealgate. */
  #gone: Promise<MetricsJson> = Promise.resolve([])
  #drained: Promise<void> | undefined
  #closed: Promise<void> | undefined

  constructor(options: HttpWorkersOptions) {
    this.#options = options
    this.#worker = options.worker
  }

  /**
   * Starts all workers.
   * @returns the receivers' ids, when all are ready.
   * @throws what made a worker fail, e.g. the NativeError of an addon that does not load.
   */
  async start(): Promise<readonly number[]> {
    const slots = Array.from({ length: this.#options.count }, () => this.#launch())
    this.#slots.push(...slots)
    await Promise.all(slots.map((slot) => slot.ready))
    this.#state = 'running'
    return this.#receivers()
  }

  /**
   * Serves requests by these from now on, on open connections too. Ends when every worker does, or has not answered in
   * time: it does so as soon as it comes to it.
   */
  async change(worker: WorkerOptions): Promise<void> {
    if (isDeepStrictEqual(worker, this.#worker)) return
    this.#worker = worker
    this.#requests += 1
    const change = this.#requests
    await Promise.all(
      this.#slots.map((slot) => {
        const changed = slot.next('changed', change, ANSWER_TIMEOUT_MS)
        send(slot, { type: 'change', change, options: worker })
        return changed
      }),
    )
  }

  /** The metrics of every worker, those that have crashed included, as far as they have said them. */
  async metrics(): Promise<MetricsJson[]> {
    if (this.#state === 'closed') return []
    // Together: a worker that goes meanwhile counts once.
    const [gone, ...answers] = [this.#gone, ...this.#slots.map((slot) => this.#metricsOf(slot))]
    const all = [await gone, ...(await Promise.all(answers))]
    return all.filter(({ length }) => length > 0)
  }

  /** Ends when no worker has a connection left. Idempotent. */
  drain(): Promise<void> {
    if (this.#state !== 'closed') this.#state = 'draining'
    this.#drained ??= Promise.all(
      this.#slots.map((slot) => {
        send(slot, { type: 'drain' })
        return slot.drained
      }),
    ).then(() => undefined)
    return this.#drained
  }

  /** Ends open connections now, and the threads. Idempotent. */
  close(): Promise<void> {
    this.#state = 'closed'
    this.#closed ??= Promise.all(
      this.#slots.map((slot) => {
        send(slot, { type: 'close' })
        return slot.exited
      }),
    ).then(() => undefined)
    return this.#closed
  }

  #launch(): Slot {
    const worker = new Worker(this.#options.entry ?? WORKER_FILE, { workerData: this.#worker })
    const slot = new Slot(worker)
    worker.on('error', (error) => {
      if (this.#state !== 'new') this.#options.log.error({ err: error }, 'an HTTP worker crashed')
    })
    worker.on('exit', () => this.#onExit(slot))
    return slot
  }

  #onExit(slot: Slot): void {
    if (this.#state !== 'running') return
    this.#slots.splice(this.#slots.indexOf(slot), 1)
    this.#gone = this.#gone.then((before) => sumOf(before, slot.metrics))
    this.#options.onReceivers(this.#receivers())
    setTimeout(() => void this.#replace(), RESTART_PAUSE_MS)
  }

  async #replace(): Promise<void> {
    if (this.#state !== 'running') return
    const slot = this.#launch()
    this.#slots.push(slot)
    try {
      await slot.ready
      this.#options.onReceivers(this.#receivers())
    } catch {
      // It has been logged, and its exit starts the next attempt.
    }
  }

  #receivers(): number[] {
    return this.#slots.flatMap((slot) => slot.receiverId ?? [])
  }

  async #metricsOf(slot: Slot): Promise<MetricsJson> {
    this.#requests += 1
    const request = this.#requests
    const answer = slot.next('metrics', request, ANSWER_TIMEOUT_MS)
    send(slot, { type: 'metrics', request })
    slot.metrics = (await answer)?.metrics ?? slot.metrics
    return slot.metrics
  }
}

/** One worker from its start to its exit. */
class Slot {
  readonly worker: Worker
  /** Rejected when the worker fails before it is ready. */
  readonly ready: Promise<void>
  /** Also ends with the thread: a worker that is gone has no connections. */
  readonly drained: Promise<void>
  readonly exited: Promise<void>
  readonly #waiting = new Map<number, (answer: Answer | undefined) => void>()
  receiverId: number | undefined
  /** As it said them last. */
  metrics: MetricsJson = []

  constructor(worker: Worker) {
    this.worker = worker
    this.exited = new Promise((resolve) => worker.once('exit', () => resolve()))
    this.ready = new Promise((resolve, reject) => {
      worker.once('error', reject)
      worker.once('exit', (code) => reject(new Error(`an HTTP worker ended with exit code ${code}`)))
      worker.on('message', (message: FromWorker) => {
        if (message.type !== 'ready') return
        this.receiverId = message.receiverId
        resolve()
      })
    })
    // Whoever awaits it learns of the failure; after the start nobody does.
    this.ready.catch(() => {})
    this.drained = new Promise((resolve) => {
      worker.once('exit', () => resolve())
      worker.on('message', (message: FromWorker) => {
        if (message.type === 'drained') resolve()
      })
    })
    worker.on('message', (message: FromWorker) => {
      if (message.type === 'metrics') this.#waiting.get(message.request)?.(message)
      if (message.type === 'changed') this.#waiting.get(message.change)?.(message)
    })
    worker.once('exit', () => {
      for (const settle of this.#waiting.values()) settle(undefined)
    })
  }

  /** The answer to that request; undefined when there is none in time. */
  next<T extends Answer['type']>(
    type: T,
    request: number,
    timeoutMs: number,
  ): Promise<Extract<Answer, { type: T }> | undefined> {
    return new Promise((resolve) => {
      const settle = (answer: Answer | undefined): void => {
        clearTimeout(timer)
        this.#waiting.delete(request)
        resolve(isOfType(answer, type) ? answer : undefined)
      }
      const timer = setTimeout(() => settle(undefined), timeoutMs)
      this.#waiting.set(request, settle)
    })
  }
}

type Answer = Extract<FromWorker, { type: 'metrics' | 'changed' }>

function isOfType<T extends Answer['type']>(
  answer: Answer | undefined,
  type: T,
): answer is Extract<Answer, { type: T }> {
  return answer?.type === type
}

/** HTTP workers have counters and histograms only, for which this is right. */
function sumOf(...all: readonly MetricsJson[]): Promise<MetricsJson> {
  return AggregatorRegistry.aggregate([...all]).getMetricsAsJSON()
}

function send(slot: Slot, message: ToWorker): void {
  slot.worker.postMessage(message)
}

/** Beside this file, as source or built. */
const WORKER_FILE = new URL(import.meta.url.replace(/workers\.(\w+)$/, 'worker.$1'))
