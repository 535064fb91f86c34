/**
 * One request and its response, between a client and the servers of an upstream.
 *
 * waiting ──headers──▶ responding ──last byte──▶ answered ──handed to TLS──▶ closed
 *    └──── no server: our own error response ───────▲                          ▲
 *    └──────────── the client leaves, at any time; a response breaks off ──────┘
 *
 * It is undici's handler and the client half's observer in one object, so that a request costs one object
 * here and no stream. undici's older handler methods are used on purpose: they deliver the header fields raw
 * and in order, where the newer ones parse them into an object that would have to be taken apart again.
 */

import { httpStatus, RequestError, type SealgateError, UpstreamError } from '../errors.ts'
import { isConnectFailure, upstreamFailure } from '../upstream/failure.ts'
import type { HttpServer, HttpUpstream } from '../upstream/http1.ts'
import type { ResponseHandler } from '../upstream/http1-connection.ts'
import type { Downstream, DownstreamObserver } from './downstream.ts'
import { errorResponse } from './error-response.ts'
import type { RequestHead } from './request-head.ts'
import { nextRequestId, type RequestRecorder } from './request-record.ts'
import { linkFields, responseHead, responseTrailers } from './response-head.ts'

export interface ExchangeOptions {
  readonly head: RequestHead
  readonly downstream: Downstream
  readonly upstream: HttpUpstream
  readonly recorder: RequestRecorder
}

export class Exchange implements ResponseHandler, DownstreamObserver {
  readonly #options: ExchangeOptions
  readonly #requestId = nextRequestId()
  readonly #startedAtMs = performance.now()
  #state: 'waiting' | 'responding' | 'answered' | 'closed' = 'waiting'
  #status = 0
  #bytesSent = 0
  #failure: SealgateError | undefined

  // The attempt under way.
  #server: HttpServer | undefined
  #attempts = 0
  #attemptAtMs = 0
  #upstreamMs: number | undefined
  /** undici has begun to write the request: only a harmless one may be repeated. */
  #sent = false
  #abortUpstream: ((error: Error) => void) | undefined
  #resumeUpstream: (() => void) | undefined
  /** Runs while all connections to the server are in use. */
  #waitTimer: NodeJS.Timeout | undefined
  #tried: readonly HttpServer[] = NOBODY

  /** A body that comes in one piece is kept back, so that headers and body leave together. */
  #contentLength: number | undefined
  #onlyChunk: Buffer | undefined

  constructor(options: ExchangeOptions) {
    this.#options = options
    options.downstream.observer = this
  }

  /** Asks the server whose turn it is. */
  start(): void {
    if (this.#state !== 'waiting') return
    const { upstream, head, downstream } = this.#options
    const server = upstream.pick(this.#tried)
    if (server === undefined) {
      this.#fail(this.#noneAvailable())
      return
    }
    this.#server = server
    this.#sent = false
    this.#abortUpstream = undefined
    this.#attempts += 1
    this.#attemptAtMs = performance.now()
    const body = head.hasBody ? downstream.openBody() : null
    const request = { path: head.path, method: head.method, headers: head.headers, body }
    if (!server.dispatch(request, this) && this.#state === 'waiting')
      this.#waitTimer = setTimeout(() => this.#onWaitedInVain(server), upstream.maxWaitMs)
  }

  // undici's handler

  /** Throwing takes the request back and leaves the connection to others. */
  onConnect(abort: (error?: Error) => void): void {
    clearTimeout(this.#waitTimer)
    if (this.#state !== 'waiting')
      throw new RequestError('ERR_REQUEST_ABORTED', 'nobody waits for the response')
    this.#abortUpstream = abort
    this.#sent = true
  }

  onHeaders(status: number, rawHeaders: Buffer[], resume: () => void, statusText: string): boolean {
    const { downstream, head } = this.#options
    if (status < 200) {
      if (status === 103) downstream.earlyHints(linkFields(rawHeaders))
      return true
    }
    const response = responseHead(status, statusText, rawHeaders, head.method)
    this.#upstreamMs = performance.now() - this.#attemptAtMs
    this.#resumeUpstream = resume
    this.#contentLength = response.contentLength
    downstream.start(response)
    this.#failure = undefined
    this.#status = status
    this.#state = 'responding'
    // The whole of it. undici would wait for as many bytes as a 304 may say that a 200 would have, and call it broken.
    if (response.bodiless) this.onComplete(null)
    return true
  }

  onData(chunk: Buffer): boolean {
    // When undici goes on with nothing to go on with. To wait once more, at the server's end, would be to wait for ever.
    if (chunk.length === 0) return true
    this.#bytesSent += chunk.length
    if (chunk.length !== this.#contentLength) return this.#options.downstream.write(chunk)
    this.#onlyChunk = chunk
    return true
  }

  onServerEnd(reset: Error | undefined): void {
    if (this.#state !== 'responding') return
    // Completes what is all there.
    this.#resumeUpstream?.()
    if (reset !== undefined) this.onError(reset)
  }

  onComplete(trailers: (Buffer | string)[] | null): void {
    if (this.#state !== 'responding') return
    this.#state = 'answered'
    this.#options.downstream.end(this.#onlyChunk, responseTrailers(trailers))
  }

  onError(error: Error): void {
    if (this.#state === 'answered' || this.#state === 'closed' || this.#server === undefined) return
    clearTimeout(this.#waitTimer)
    const { upstream, downstream } = this.#options
    const failure = upstreamFailure(error, this.#server.address, this.#state === 'responding')
    this.#failure = failure
    if (this.#state === 'responding') {
      this.#state = 'answered'
      downstream.abort()
      return
    }

    if (!this.#sent && isConnectFailure(error)) upstream.markFailed(this.#server)
    if (!this.#mayRepeat(failure)) {
      this.#fail(failure)
      return
    }
    this.#tried = this.#othersFirst(this.#server)
    // undici is still tidying up after the connection that failed.
    setImmediate(() => this.start())
  }

  // The client's half

  onDownstreamDrain(): void {
    // Afterwards the upstream's connection may be somebody else's.
    if (this.#state === 'responding') this.#resumeUpstream?.()
  }

  onDownstreamBroken(failure: RequestError): void {
    if (this.#state === 'waiting') {
      clearTimeout(this.#waitTimer)
      this.#fail(failure)
      this.#abortUpstream?.(failure)
    } else if (this.#state === 'responding') {
      this.#failure = failure
      this.#options.downstream.abort()
    }
  }

  onDownstreamStalled(): void {
    const failure = new RequestError('ERR_REQUEST_TIMEOUT', 'the client neither sent nor read for too long')
    if (this.#state === 'waiting') this.onDownstreamBroken(failure)
    else {
      this.#failure = failure
      this.#options.downstream.abort()
    }
  }

  onDownstreamClosed(complete: boolean): void {
    if (this.#state === 'closed') return
    clearTimeout(this.#waitTimer)
    const upstreamBusy = this.#state === 'waiting' || this.#state === 'responding'
    this.#state = 'closed'
    if (!complete) this.#failure ??= this.#brokenOff()
    if (this.#status === 0) this.#status = httpStatus(this.#failure)
    if (upstreamBusy) this.#abortUpstream?.(this.#failure ?? new Error('nobody waits for the response'))
    this.#record(complete)
  }

  #brokenOff(): RequestError {
    const who = this.#options.downstream.connection.isCutOff ? 'the proxy stopped' : 'the client left'
    return new RequestError('ERR_REQUEST_ABORTED', `${who} before the end`)
  }

  /** The request stays in undici's queue, where it is the server's no more: onConnect() takes it back. */
  #onWaitedInVain({ address }: HttpServer): void {
    if (this.#state !== 'waiting' || this.#sent) return
    const text = `server ${address}: no connection became free within ${this.#options.upstream.maxWaitMs} ms`
    this.#fail(new UpstreamError('ERR_UPSTREAM_NONE_AVAILABLE', text, { address }))
  }

  /** Nothing of the response has begun. */
  #mayRepeat(failure: SealgateError): boolean {
    const { head, downstream, upstream } = this.#options
    if (failure.fault !== 'upstream' || this.#attempts > upstream.size) return false
    if (!this.#sent) return true
    return failure.retryable && downstream.bytesReceived === 0 && IDEMPOTENT.has(head.method)
  }

  /**
   * A server that could not be reached is not asked twice. One that dropped a connection may be, after all
   * others: a keep-alive connection that it closed just before the request came says nothing about it.
   */
  #othersFirst(server: HttpServer): readonly HttpServer[] {
    const tried = [...this.#tried, server]
    const dropped = this.#sent && this.#options.upstream.pick(tried) === undefined
    return dropped ? NOBODY : tried
  }

  /** An upstream of one server fails with what that server did; one of several has none left. */
  #noneAvailable(): SealgateError {
    const { name, size } = this.#options.upstream
    if (size === 1 && this.#failure !== undefined) return this.#failure
    const text = `no server of upstream "${name}" is available (${this.#attempts} tried)`
    return new UpstreamError('ERR_UPSTREAM_NONE_AVAILABLE', text, { cause: this.#failure })
  }

  #fail(failure: SealgateError): void {
    const { downstream, head } = this.#options
    const response = errorResponse(failure, this.#requestId, head.method)
    this.#state = 'answered'
    this.#failure = failure
    this.#status = response.head.status
    this.#bytesSent = response.body?.length ?? 0
    downstream.start(response.head)
    downstream.end(response.body, [])
  }

  #record(complete: boolean): void {
    const { head, downstream, upstream, recorder } = this.#options
    recorder.add({
      facts: downstream.connection.facts,
      requestId: this.#requestId,
      method: head.method,
      host: head.host,
      target: head.path,
      protocol: downstream.protocol,
      status: this.#status,
      aborted: !complete,
      bytesReceived: downstream.bytesReceived,
      bytesSent: this.#bytesSent,
      durationMs: performance.now() - this.#startedAtMs,
      upstream: upstream.name,
      upstreamAddress: this.#server?.address,
      upstreamMs: this.#upstreamMs,
      attempts: this.#attempts,
      failure: this.#failure,
    })
  }
}

/** RFC 9110 §9.2.2: to repeat them does no harm. */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])
const NOBODY: readonly HttpServer[] = []
