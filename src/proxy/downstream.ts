/** The client's half of an exchange, whatever its protocol: http1.ts and http2.ts implement it. */

import type { Readable } from 'node:stream'
import type { RequestError } from '../errors.ts'
import type { Connection } from './connection.ts'
import type { ResponseHead } from './response-head.ts'

export interface Downstream {
  readonly connection: Connection
  /** As in access logs. */
  readonly protocol: 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2.0'
  /** It is the client's turn: to send more of the body, or to read what was written. */
  readonly awaitsClient: boolean
  /** Bytes of the request's body taken so far. */
  readonly bytesReceived: number
  /** Set once, before anything else is called. */
  observer: DownstreamObserver | undefined
  /**
   * The request's body for one attempt. May be called again as long as `bytesReceived` is 0.
   * Sends `100 Continue` when the client waits for it and the body is first asked for.
   */
  openBody(): Readable
  /** 103 (RFC 8297); a client that cannot take it gets none. */
  earlyHints(link: string[]): void
  start(head: ResponseHead): void
  /** @returns false: wait for `onDownstreamDrain` before writing more. */
  write(chunk: Buffer): boolean
  /** @param trailers flat name/value list. */
  end(chunk: Buffer | undefined, trailers: string[]): void
  /** Ends a response that has begun so that the client sees it is not whole. Idempotent. */
  abort(): void
}

export interface DownstreamObserver {
  onDownstreamDrain(): void
  /** What the client sends of the body makes no sense. A response that has ended stands, and may be on its way. */
  onDownstreamBroken(failure: RequestError): void
  /** For long it has neither sent nor read when it was its turn. */
  onDownstreamStalled(): void
  /** Called once. `complete`: the whole response was handed to TLS. */
  onDownstreamClosed(complete: boolean): void
}
