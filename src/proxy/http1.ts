/** The client's half of an exchange over HTTP/1.x, on node:http. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import type { RequestError } from '../errors.ts'
import { removeFields } from './client-fields.ts'
import type { Connection } from './connection.ts'
import type { Downstream, DownstreamObserver } from './downstream.ts'
import type { Pipeline, Served } from './pipeline.ts'
import { RequestBody } from './request-body.ts'
import { type ResponseHead, reasonPhrase } from './response-head.ts'

export class Http1Downstream implements Downstream, Served {
  readonly connection: Connection
  readonly protocol: 'HTTP/1.0' | 'HTTP/1.1'
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #pipeline: Pipeline
  #body: RequestBody | undefined
  #closed = false
  #hasBeenFull = false
  #expectsContinue: boolean
  bytesReceived = 0
  observer: DownstreamObserver | undefined

  /**
   * @param options.expectsContinue the client waits for `100 Continue` before it sends the body.
   */
  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    options: { readonly pipeline: Pipeline; readonly expectsContinue: boolean },
  ) {
    this.#request = request
    this.#response = response
    this.#pipeline = options.pipeline
    this.connection = options.pipeline.connection
    this.protocol = request.httpVersionMinor === 0 ? 'HTTP/1.0' : 'HTTP/1.1'
    this.#expectsContinue = options.expectsContinue
    this.connection.exchangeBegins(this)
    this.#pipeline.serves(this)
    response.on('close', () => this.closed())
  }

  get received(): boolean {
    return this.#request.complete
  }

  get answered(): boolean {
    return this.#response.writableEnded
  }

  get awaitsClient(): boolean {
    const sending = !this.#request.complete && this.#request.readableFlowing === true
    return sending || this.connection.socket.writableLength > 0
  }

  openBody(): Readable {
    this.#body = new RequestBody(this.#request, {
      bytes: (count) => {
        this.bytesReceived += count
      },
      firstRead: () => {
        if (this.#expectsContinue && !this.#response.headersSent) this.#response.writeContinue()
        this.#expectsContinue = false
      },
    })
    return this.#body
  }

  earlyHints(link: string[]): void {
    if (this.protocol !== 'HTTP/1.1' || link.length === 0) return
    try {
      this.#response.writeEarlyHints({ link })
    } catch {
      // Node refuses a Link it cannot parse. A hint is a hint: the response itself still comes.
    }
  }

  start(head: ResponseHead): void {
    if (this.connection.isDraining) this.#response.shouldKeepAlive = false
    // Without chunks there is no place for trailers, and node:http throws when they are announced.
    if (this.protocol === 'HTTP/1.0') removeFields(head.headers, (name) => name.toLowerCase() === 'trailer')
    this.#response.writeHead(head.status, reasonPhrase(head), head.headers)
  }

  write(chunk: Buffer): boolean {
    if (this.#response.write(chunk)) return true
    if (!this.#hasBeenFull) this.#response.on('drain', () => this.observer?.onDownstreamDrain())
    this.#hasBeenFull = true
    return false
  }

  end(chunk: Buffer | undefined, trailers: string[]): void {
    if (trailers.length > 0 && this.protocol === 'HTTP/1.1') this.#response.addTrailers(pairs(trailers))
    this.#response.end(chunk)
    // What the client still sends of its body is read and thrown away, or the next request would never be seen.
    // undici destroys the stream that it was given some time later, which would pause the body again: not after this.
    this.#body?.destroy()
    if (!this.#request.complete) this.#request.resume()
  }

  abort(): void {
    this.connection.abort()
  }

  broken(failure: RequestError): void {
    this.connection.closeWhenIdle()
    this.observer?.onDownstreamBroken(failure)
  }

  closed(): void {
    if (this.#closed) return
    this.#closed = true
    this.observer?.onDownstreamClosed(this.#response.writableFinished)
    // The next one first: a connection is not idle, and not to be closed, while requests wait.
    this.#pipeline.next()
    this.connection.exchangeEnds()
  }
}

function pairs(flat: readonly string[]): [string, string][] {
  const result: [string, string][] = []
  for (let i = 0; i + 1 < flat.length; i += 2) result.push([flat[i] ?? '', flat[i + 1] ?? ''])
  return result
}
