/** A request that we answer ourselves, without an upstream: refused, or about the proxy as such. */

import type { SealgateError } from '../errors.ts'
import type { Downstream, DownstreamObserver } from './downstream.ts'
import { errorResponse, noContent } from './error-response.ts'
import type { RequestStart } from './request-head.ts'
import { nextRequestId, type RequestRecorder } from './request-record.ts'

interface OwnAnswerOptions {
  readonly recorder: RequestRecorder
  readonly downstream: Downstream
  readonly start: RequestStart
  /** Empty: none, or none that is a host. */
  readonly host: string
  /** undefined: `204 No Content`. */
  readonly failure: SealgateError | undefined
}

export class OwnAnswer implements DownstreamObserver {
  readonly #options: OwnAnswerOptions
  readonly #requestId = nextRequestId()
  readonly #startedAtMs = performance.now()
  #status = 0
  #bytesSent = 0

  /** Sends it; the record follows when the client has it. */
  static send(options: OwnAnswerOptions): void {
    const answer = new OwnAnswer(options)
    answer.#send()
  }

  private constructor(options: OwnAnswerOptions) {
    this.#options = options
  }

  onDownstreamDrain(): void {}

  onDownstreamBroken(): void {}

  onDownstreamStalled(): void {
    this.#options.downstream.abort()
  }

  onDownstreamClosed(complete: boolean): void {
    const { recorder, downstream, start, host, failure } = this.#options
    recorder.add({
      facts: downstream.connection.facts,
      requestId: this.#requestId,
      method: start.method,
      host,
      target: start.target,
      protocol: downstream.protocol,
      status: this.#status,
      aborted: !complete,
      bytesReceived: downstream.bytesReceived,
      bytesSent: this.#bytesSent,
      durationMs: performance.now() - this.#startedAtMs,
      failure,
    })
  }

  #send(): void {
    const { downstream, start, failure } = this.#options
    const { head, body } =
      failure === undefined ? noContent() : errorResponse(failure, this.#requestId, start.method)
    downstream.observer = this
    this.#status = head.status
    this.#bytesSent = body?.length ?? 0
    downstream.start(head)
    downstream.end(body, [])
  }
}
