/** Drives a listener with client processes, and reads meanwhile what the proxy says of its signatures. */

import { lookup } from 'node:dns/promises'
import { setTimeout as delay } from 'node:timers/promises'

import { SealgateError } from '../../errors.ts'
import { packageVersion } from '../../version.ts'
import { Histogram } from '../histogram.ts'
import { LoadProcess } from './load.ts'
import type { ClientOrder, ClientResult } from './messages.ts'
import {
  HANDSHAKE_REPORT_FORMAT,
  HANDSHAKE_REPORT_VERSION,
  type HandshakeReport,
  type Kind,
} from './report.ts'
import { hsmShare, readSignTotals, type SignTotals } from './scrape.ts'
import { cpuSecondsOf } from './server-cpu.ts'
import { type Target, targetText } from './target.ts'

export interface HandshakeBenchOptions {
  readonly target: Target
  readonly servername: string | null
  /** PEM; null: the roots that Node has. */
  readonly ca: readonly string[] | null
  readonly insecure: boolean
  readonly tls: '1.2' | '1.3'
  readonly alpn: readonly string[]
  readonly resumed: number
  readonly load: { readonly perSecond: number } | { readonly connections: number }
  readonly processes: number
  readonly warmUpSeconds: number
  readonly seconds: number
  readonly timeoutMs: number
  readonly reset: boolean
  readonly admin: URL | undefined
  readonly serverPid: number | undefined
}

/**
 * @param onProgress a few times a second, while it measures.
 * @throws {SealgateError} `ERR_BENCH_TARGET` when the first handshake fails.
 */
export async function benchHandshakes(
  options: HandshakeBenchOptions,
  onProgress: (progress: { done: number; failed: number; secondsLeft: number }) => void,
  signal: AbortSignal,
): Promise<HandshakeReport> {
  const orders = await ordersOf(options)
  if (options.admin !== undefined) await readSignTotals(options.admin)
  if (options.serverPid !== undefined) cpuSecondsOf(options.serverPid)
  const processes = orders.map(() => new LoadProcess())
  try {
    await Promise.all(processes.map((process, index) => process.prepare(orderAt(orders, index))))
    const startedAt = new Date().toISOString()
    for (const process of processes) process.start()
    const results = Promise.all(processes.map((process) => process.result()))
    // Whoever waits for them is told; until then nobody does.
    results.catch(() => {})
    const stop = (): void => {
      for (const process of processes) process.stop()
    }
    // It may have come while the first handshakes were made.
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
    await pause(options.warmUpSeconds * 1000, signal)
    const before = await observe(options)
    const endMs = performance.now() + options.seconds * 1000
    const timer = setInterval(() => {
      const sums = processes.map(({ progress }) => progress)
      const done = sums.reduce((sum, progress) => sum + progress.done, 0)
      const failed = sums.reduce((sum, progress) => sum + progress.failed, 0)
      onProgress({ done, failed, secondsLeft: Math.max(0, endMs - performance.now()) / 1000 })
    }, PROGRESS_MS)
    await pause(options.seconds * 1000, signal)
    const after = await observe(options)
    const counted = await results.finally(() => clearInterval(timer))
    return reportOf(options, { startedAt, complete: !signal.aborted, before, after, results: counted })
  } finally {
    for (const process of processes) process.close()
  }
}

interface Observed {
  readonly cpuSeconds: number | undefined
  readonly signing: SignTotals | undefined
}

async function observe({ admin, serverPid }: HandshakeBenchOptions): Promise<Observed> {
  return {
    cpuSeconds: serverPid === undefined ? undefined : cpuSecondsOf(serverPid),
    signing: admin === undefined ? undefined : await readSignTotals(admin),
  }
}

/** More processes than connections would be processes without any. */
export function clientProcesses({ processes, load }: HandshakeBenchOptions): number {
  return 'connections' in load ? Math.min(processes, load.connections) : processes
}

async function ordersOf(options: HandshakeBenchOptions): Promise<readonly ClientOrder[]> {
  const { target, load, servername, ca, insecure, tls, alpn, resumed, timeoutMs, reset } = options
  const address = await addressOf(target)
  const of = clientProcesses(options)
  return Array.from({ length: of }, (_, process) => ({
    address,
    port: target.port,
    servername,
    ca: ca === null ? null : [...ca],
    insecure,
    tls,
    alpn: [...alpn],
    resumed,
    load:
      'connections' in load
        ? { connections: Math.floor(load.connections / of) + (process < load.connections % of ? 1 : 0) }
        : { perSecond: load.perSecond / of },
    process,
    of,
    warmUpMs: options.warmUpSeconds * 1000,
    measureMs: options.seconds * 1000,
    timeoutMs,
    reset,
  }))
}

/** Once: names are not looked up for every handshake. */
async function addressOf(target: Target): Promise<string> {
  try {
    return (await lookup(target.host)).address
  } catch (cause) {
    throw new SealgateError('ERR_BENCH_TARGET', `${targetText(target)}: there is no such host`, { cause })
  }
}

function reportOf(
  options: HandshakeBenchOptions,
  measured: {
    readonly startedAt: string
    readonly complete: boolean
    readonly before: Observed
    readonly after: Observed
    readonly results: readonly ClientResult[]
  },
): HandshakeReport {
  const { startedAt, complete, before, after, results } = measured
  const seconds = Math.max(0, ...results.map((result) => result.seconds))
  const full = kindOf(
    results.map((result) => result.full),
    seconds,
  )
  const resumed = kindOf(
    results.map((result) => result.resumed),
    seconds,
  )
  const handshakes = full.handshakes + resumed.handshakes
  const perHandshake = (cpuSeconds: number): number | null =>
    handshakes === 0 ? null : (cpuSeconds / handshakes) * 1e6
  const cpu = difference(before.cpuSeconds, after.cpuSeconds)
  return {
    format: HANDSHAKE_REPORT_FORMAT,
    version: HANDSHAKE_REPORT_VERSION,
    sealgate: packageVersion(),
    startedAt,
    complete,
    target: targetText(options.target),
    tls: options.tls,
    loop: options.load,
    resumedShare: options.resumed,
    seconds,
    full,
    resumed,
    notResumed: sum(results.map((result) => result.notResumed)),
    errors: errorsOf(results),
    firstError: results.find(({ firstError }) => firstError !== '')?.firstError ?? '',
    generator: generatorOf(options, results, perHandshake),
    server: cpu === undefined ? null : { cpuSeconds: cpu, cpuMicrosPerHandshake: perHandshake(cpu) },
    hsm:
      before.signing === undefined || after.signing === undefined
        ? null
        : hsmShare(before.signing, after.signing),
  }
}

function generatorOf(
  { load }: HandshakeBenchOptions,
  results: readonly ClientResult[],
  perHandshake: (cpuSeconds: number) => number | null,
): HandshakeReport['generator'] {
  const cpuSeconds = sum(results.map((result) => result.cpuSeconds))
  const busiest = Math.max(0, ...results.map((result) => result.cpuSeconds / Math.max(result.seconds, 1e-3)))
  const late = new Histogram()
  for (const result of results) late.add(result.lateStart)
  const lateStartP99Ms = 'perSecond' in load ? late.percentile(0.99) : null
  const skipped = sum(results.map((result) => result.skipped))
  return {
    processes: results.length,
    cpuSeconds,
    cpuMicrosPerHandshake: perHandshake(cpuSeconds),
    busiest,
    lateStartP99Ms,
    skipped,
    hadTimeToSpare: busiest < BUSY && skipped === 0 && (lateStartP99Ms ?? 0) < LATE_MS,
  }
}

function kindOf(states: readonly ClientResult['full'][], seconds: number): Kind {
  const histogram = new Histogram()
  for (const state of states) histogram.add(state)
  const { count } = histogram
  return { handshakes: count, perSecond: seconds === 0 ? 0 : count / seconds, latencyMs: histogram.summary() }
}

function errorsOf(results: readonly ClientResult[]): Readonly<Record<string, number>> {
  const errors = new Map<string, number>()
  for (const result of results) {
    for (const [name, count] of Object.entries(result.errors))
      errors.set(name, (errors.get(name) ?? 0) + count)
  }
  return Object.fromEntries(errors)
}

function orderAt(orders: readonly ClientOrder[], index: number): ClientOrder {
  const order = orders[index]
  if (order === undefined) throw new RangeError(`there is no order ${index}`)
  return order
}

function difference(before: number | undefined, after: number | undefined): number | undefined {
  return before === undefined || after === undefined ? undefined : after - before
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return delay(ms, undefined, { signal }).catch(() => {})
}

const PROGRESS_MS = 500
// A process that has its processor nearly to itself makes answers wait.
const BUSY = 0.85
// Later than this, the schedule is the generator's and not the one that was asked for.
const LATE_MS = 5
