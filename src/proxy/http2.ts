/** The client's half of an exchange over HTTP/2, on node:http2's core API. */

import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import type { Readable } from 'node:stream'
import type { Connection } from './connection.ts'
import type { Downstream, DownstreamObserver } from './downstream.ts'
import { RequestBody } from './request-body.ts'
import type { ResponseHead } from './response-head.ts'

/** How often a response whose request goes on is asked whether it has left. */
const END_LOOK_MS = 50

export class Http2Downstream implements Downstream {
  readonly connection: Connection
  readonly protocol = 'HTTP/2.0'
  readonly #stream: ServerHttp2Stream
  #expectsContinue: boolean
  #trailers: string[] = []
  #body: RequestBody | undefined
  #givenUp = false
  /** The response is all there, as far as we are concerned. */
  #ended = false
  bytesReceived = 0
  observer: DownstreamObserver | undefined

  constructor(
    stream: ServerHttp2Stream,
    options: {
      readonly connection: Connection
      readonly expectsContinue: boolean
      readonly stallTimeoutMs: number
    },
  ) {
    this.#stream = stream
    this.connection = options.connection
    this.#expectsContinue = options.expectsContinue
    this.connection.exchangeBegins(this)
    this.#watch(options.stallTimeoutMs)
    // A reset by the client is an event like any other here: 'close' tells the rest.
    stream.on('error', () => {})
    const { session } = stream
    stream.on('close', () => {
      // When END_STREAM has left, Node destroys the stream at once and 'finish' may never come. With its session
      // destroyed as well, what had ended here may not have left.
      const sent = stream.writableFinished || (stream.writableEnded && session?.destroyed === false)
      // Node ends the stream by itself as well: of a HEAD request at once, and when the client resets it with NO_ERROR.
      const whole = this.#ended && sent && stream.rstCode === constants.NGHTTP2_NO_ERROR
      this.observer?.onDownstreamClosed(whole)
      this.connection.exchangeEnds()
    })
  }

  /** The stream has closed before its time, for reasons that lie with the client: it reset it, or made node:http2 do so. */
  get resetByClient(): boolean {
    const { rstCode, aborted } = this.#stream
    return !this.#givenUp && (rstCode !== constants.NGHTTP2_NO_ERROR || aborted)
  }

  get awaitsClient(): boolean {
    const sending = !this.#stream.readableEnded && this.#stream.readableFlowing === true
    return sending || this.#stream.writableLength > 0
  }

  openBody(): Readable {
    this.#body = new RequestBody(this.#stream, {
      bytes: (count) => {
        this.bytesReceived += count
      },
      firstRead: () => {
        if (this.#expectsContinue) this.#inform({ ':status': 100 })
        this.#expectsContinue = false
      },
    })
    return this.#body
  }

  earlyHints(link: string[]): void {
    if (link.length > 0) this.#inform({ ':status': 103, link })
  }

  start(head: ResponseHead): void {
    if (this.#stream.destroyed || this.#stream.closed) return
    const waitForTrailers = !head.bodiless && head.contentLength === undefined
    if (waitForTrailers) this.#stream.once('wantTrailers', () => this.#sendTrailers())
    this.#stream.respond(headerObject(head), { endStream: head.bodiless, waitForTrailers })
    this.#ended = head.bodiless
  }

  write(chunk: Buffer): boolean {
    if (this.#stream.destroyed || this.#stream.write(chunk)) return true
    this.#stream.once('drain', () => this.observer?.onDownstreamDrain())
    return false
  }

  end(chunk: Buffer | undefined, trailers: string[]): void {
    this.#trailers = trailers
    this.#ended = true
    if (!this.#stream.writableEnded) this.#stream.end(chunk)
    if (this.#stream.readableEnded) return
    // What the client still sends of its body is read and thrown away until the response has left. undici destroys the
    // stream that it was given some time later, which would pause the body again: not after this.
    this.#body?.destroy()
    this.#stream.resume()
    if (this.#stream.writableFinished) this.#stopBody()
    else this.#stream.on('finish', () => this.#stopBody())
  }

  abort(): void {
    this.#givenUp = true
    // Not close(): that would end the response properly first, and reset an ended stream.
    this.#stream.destroy(new Error('the response broke off'))
  }

  /**
   * Tells the client to stop sending a body that nobody wants (RFC 9113 §8.1), when END_STREAM has left: a reset before
   * that would take trailers with it. Node tells nobody of that moment, so it is looked for.
   */
  #stopBody(): void {
    const stream = this.#stream
    if (stream.destroyed || stream.closed || stream.readableEnded) return
    if (stream.state.localClose === 1) stream.close(constants.NGHTTP2_NO_ERROR)
    else setTimeout(() => this.#stopBody(), END_LOOK_MS)
  }

  /** An interim response, while there is still one to come. A stream is closed at its reset, and destroyed some time later. */
  #inform(headers: OutgoingHttpHeaders): void {
    const { headersSent, closed, destroyed } = this.#stream
    if (!headersSent && !closed && !destroyed) this.#stream.additionalHeaders(headers)
  }

  #watch(stallTimeoutMs: number): void {
    this.#stream.setTimeout(stallTimeoutMs)
    // Not as the callback of setTimeout(), which Node calls once only.
    this.#stream.on('timeout', () => {
      if (this.awaitsClient) {
        this.#givenUp = true
        this.observer?.onDownstreamStalled()
      }
      // The upstream's turn; its own timeouts see to it.
      else this.#stream.setTimeout(stallTimeoutMs)
    })
  }

  #sendTrailers(): void {
    if (this.#stream.destroyed) return
    try {
      this.#stream.sendTrailers(fields({}, this.#trailers))
    } catch {
      // Node calls this from its own depths: nobody else would catch what it does not like about a field.
      this.abort()
    }
  }
}

function headerObject(head: ResponseHead): OutgoingHttpHeaders {
  return fields({ ':status': head.status }, head.headers)
}

/** node:http2 wants an object; fields that repeat become lists, where it takes them. */
function fields(pseudo: OutgoingHttpHeaders, flat: readonly string[]): OutgoingHttpHeaders {
  // Without a prototype: `constructor` may be a field's name.
  const into: OutgoingHttpHeaders = Object.assign(Object.create(null), pseudo)
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const name = (flat[i] ?? '').toLowerCase()
    const value = flat[i + 1] ?? ''
    const earlier = into[name]
    if (earlier === undefined) into[name] = value
    else if (Array.isArray(earlier)) earlier.push(value)
    else if (JOINED.has(name)) into[name] = `${earlier}, ${value}`
    else if (!SINGLE.has(name)) into[name] = [String(earlier), value]
  }
  return into
}

/** Lists (RFC 9110 §5.3) that node:http2 wants in one field. */
const JOINED: ReadonlySet<string> = new Set(['content-encoding', 'content-language'])
/**
 * Fields of one value. node:http2 throws when one of them repeats; servers send some of them twice all the same, and clients
 * take the first.
 */
const SINGLE: ReadonlySet<string> = new Set([
  ...['access-control-allow-credentials', 'access-control-max-age', 'access-control-request-method', 'age'],
  ...['authorization', 'content-length', 'content-location', 'content-md5', 'content-range', 'content-type'],
  ...['date', 'dnt', 'etag', 'expires', 'from', 'host', 'if-match', 'if-modified-since', 'if-none-match'],
  ...['if-range', 'if-unmodified-since', 'last-modified', 'location', 'max-forwards', 'proxy-authorization'],
  ...['range', 'referer', 'retry-after', 'tk', 'upgrade-insecure-requests', 'user-agent'],
  ...['x-content-type-options'],
])
