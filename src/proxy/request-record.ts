/**
 * What is kept of a request that has ended: one line in the access log, one count, two durations.
 *
 * The same for every way a request can end; a request that never reached a route has upstream `none`.
 */

import { randomBytes } from 'node:crypto'
import type { SealgateError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { peerRecord } from '../native/peer-record.ts'
import type { ConnectionFacts } from './connection.ts'

export interface RequestRecord {
  readonly facts: ConnectionFacts
  readonly requestId: string
  readonly method: string
  readonly host: string
  /** As on the request line, query included. */
  readonly target: string
  readonly protocol: string
  /** 499: the client left before there was one. */
  readonly status: number
  readonly aborted: boolean
  /** Of the body. */
  readonly bytesReceived: number
  readonly bytesSent: number
  readonly durationMs: number
  readonly failure: SealgateError | undefined
  /** Absent: no route matched, or the request was no request. */
  readonly upstream?: string
  /** The last server tried; absent when none was. */
  readonly upstreamAddress?: string | undefined
  /** From the start of the last attempt to the response's headers; absent when none came. */
  readonly upstreamMs?: number | undefined
  readonly attempts?: number
}

/** One per listener and HTTP worker. */
export class RequestRecorder {
  readonly #listener: string
  readonly #log: Log | undefined
  readonly #metrics: Metrics
  readonly #asksForCertificates: boolean
  readonly #series = new Map<string, StatusSeries>()
  readonly #logs = new WeakMap<ConnectionFacts, Log>()

  /** @param options.log undefined: no access log. */
  constructor(options: {
    readonly listener: string
    readonly log: Log | undefined
    readonly metrics: Metrics
    /** Every line says what became of the client's certificate. */
    readonly asksForCertificates?: boolean
  }) {
    this.#listener = options.listener
    this.#asksForCertificates = options.asksForCertificates ?? false
    this.#log = options.log
    this.#metrics = options.metrics
  }

  add(record: RequestRecord): void {
    this.#count(record)
    if (this.#log !== undefined) this.#logOf(record.facts, this.#log).info(line(record))
  }

  #count(record: RequestRecord): void {
    const status = record.aborted ? 'aborted' : (CLASSES[Math.trunc(record.status / 100)] ?? 'aborted')
    const series = this.#seriesOf(record.upstream ?? 'none', status)
    series.requests.inc()
    series.requestSeconds.observe(record.durationMs / 1000)
    if (record.failure !== undefined)
      this.#metrics.requestFailures.labels(this.#listener, record.failure.code).inc()
    if (record.upstreamMs !== undefined) series.upstreamSeconds.observe(record.upstreamMs / 1000)
  }

  #seriesOf(upstream: string, status: string): StatusSeries {
    const key = `${status} ${upstream}`
    const known = this.#series.get(key)
    if (known !== undefined) return known
    const labels = { listener: this.#listener, upstream, status }
    const series = {
      requests: this.#metrics.requests.series(labels),
      requestSeconds: this.#metrics.requestSeconds.series(labels),
      upstreamSeconds: this.#metrics.upstreamSeconds.series(labels),
    }
    this.#series.set(key, series)
    return series
  }

  /** What is the same for all requests of a connection is written as JSON once. */
  #logOf(facts: ConnectionFacts, log: Log): Log {
    const known = this.#logs.get(facts)
    if (known !== undefined) return known
    const { peer, serverName, tlsVersion, cipher, resumed } = facts
    const client = this.#asksForCertificates ? peerRecord(facts.clientCertificate) : undefined
    const child = log.child({
      listener: this.#listener,
      peer,
      serverName,
      tlsVersion,
      cipher,
      resumed,
      ...client,
    })
    this.#logs.set(facts, child)
    return child
  }
}

/** Unique among the threads and restarts of all proxies; short, for people read it aloud. */
export function nextRequestId(): string {
  counter += 1
  return `${THREAD}-${counter.toString(36)}`
}

const THREAD = randomBytes(5).toString('hex')
let counter = 0

interface StatusSeries {
  readonly requests: { inc(): void }
  readonly requestSeconds: { observe(seconds: number): void }
  readonly upstreamSeconds: { observe(seconds: number): void }
}

const CLASSES = ['aborted', '1xx', '2xx', '3xx', '4xx', '5xx']

/** Flat, with stable names; what is undefined is left out by the log. */
function line(record: RequestRecord): object {
  const { upstreamMs, attempts = 0, failure } = record
  return {
    requestId: record.requestId,
    method: record.method,
    host: record.host,
    target: record.target,
    protocol: record.protocol,
    status: record.status,
    aborted: record.aborted || undefined,
    bytesReceived: record.bytesReceived,
    bytesSent: record.bytesSent,
    durationMs: rounded(record.durationMs),
    upstream: record.upstream,
    upstreamAddress: record.upstreamAddress,
    upstreamMs: upstreamMs === undefined ? undefined : rounded(upstreamMs),
    attempts: attempts > 1 ? attempts : undefined,
    code: failure?.code,
    reason: failure?.message,
  }
}

/** To the microsecond: more digits would only pretend. */
function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000
}
