/**
 * What is kept of a request that has ended: one line in the access log, one count, two durations.
 *
 * The same for every way a request can end; a request that never reached a route has upstream `none`.
 */

import { randomBytes } from 'node:crypto'
import type { SealgateError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { ConnectionFacts } from './connection.ts'

export interface RequestRecord {
  readonly listener: string
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
  readonly bytesReceived: number
  readonly bytesSent: number
  readonly durationMs: number
  /** undefined: no route matched, or the request was no request. */
  readonly upstream: string | undefined
  /** The last server tried; undefined when none was. */
  readonly upstreamAddress: string | undefined
  /** From the start of the last attempt to the response's headers; undefined when none came. */
  readonly upstreamMs: number | undefined
  readonly attempts: number
  readonly failure: SealgateError | undefined
}

/** One per HTTP worker. */
export class RequestRecorder {
  readonly #log: Log | undefined
  readonly #metrics: Metrics
  readonly #labels = new Map<string, StatusSeries>()

  /** @param log undefined: no access log. */
  constructor(log: Log | undefined, metrics: Metrics) {
    this.#log = log
    this.#metrics = metrics
  }

  add(record: RequestRecord): void {
    this.#count(record)
    this.#log?.info(line(record))
  }

  #count(record: RequestRecord): void {
    const status = record.aborted ? 'aborted' : (CLASSES[Math.trunc(record.status / 100)] ?? 'aborted')
    const series = this.#series(record.listener, record.upstream ?? 'none', status)
    series.requests.inc()
    series.requestSeconds.observe(record.durationMs / 1000)
    if (record.upstreamMs !== undefined) series.upstreamSeconds.observe(record.upstreamMs / 1000)
  }

  #series(listener: string, upstream: string, status: string): StatusSeries {
    const key = `${listener}\n${upstream}\n${status}`
    const known = this.#labels.get(key)
    if (known !== undefined) return known
    const labels = { listener, upstream, status }
    const series = {
      requests: this.#metrics.requests.labels(labels),
      requestSeconds: this.#metrics.requestSeconds.labels(labels),
      upstreamSeconds: this.#metrics.upstreamSeconds.labels(labels),
    }
    this.#labels.set(key, series)
    return series
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
  const { facts, upstreamMs, failure } = record
  return {
    listener: record.listener,
    peer: facts.peer,
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
    attempts: record.attempts > 1 ? record.attempts : undefined,
    serverName: facts.serverName,
    tlsVersion: facts.tlsVersion,
    cipher: facts.cipher,
    resumed: facts.resumed,
    requestId: record.requestId,
    code: failure?.code,
    reason: failure?.message,
  }
}

/** To the microsecond: more digits would only pretend. */
function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000
}
