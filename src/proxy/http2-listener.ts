/** Requests of HTTP/2 connections: one node:http2 session per connection, no server object. */

import {
  constants,
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Connection } from './connection.ts'
import { Http2Downstream } from './http2.ts'
import { ResetBudget } from './reset-budget.ts'
import type { Service } from './service.ts'

const MAX_CONCURRENT_STREAMS = 128
/** What a field counts beside its name and value (RFC 9113 §6.5.2). */
const FIELD_OVERHEAD_BYTES = 32
/** What one stream may send before we have passed it on, and all streams of a connection together. */
const STREAM_WINDOW_BYTES = 256 * 1024
const CONNECTION_WINDOW_BYTES = 1024 * 1024
/** "All streams so far and some that may be on their way" (RFC 9113 §6.8). */
const MAX_STREAM_ID = 2 ** 31 - 1

export class Http2Listener {
  readonly service: Service

  constructor(service: Service) {
    this.service = service
  }

  accept(connection: Connection): void {
    const { keepAliveMs, maxHeaderBytes } = this.service.listener
    const session = performServerHandshake(connection.socket, {
      // As many as fit into maxHeaderListSize, not Node's 128: clients may send each cookie as a field (RFC 9113 §8.2.3).
      maxHeaderListPairs: Math.ceil(maxHeaderBytes / FIELD_OVERHEAD_BYTES),
      settings: {
        maxConcurrentStreams: MAX_CONCURRENT_STREAMS,
        maxHeaderListSize: maxHeaderBytes,
        initialWindowSize: STREAM_WINDOW_BYTES,
      },
    })
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES)
    const goaway = (): void => {
      // Its client may have left a moment ago, and goaway() throws then.
      if (!session.destroyed) session.goaway(constants.NGHTTP2_NO_ERROR, MAX_STREAM_ID)
    }
    connection.farewell = {
      // After a GOAWAY a client must not ask for anything any more (RFC 9113 §6.8): who has just come may do so once.
      announce: () => {
        if (connection.latest === undefined) session.once('stream', goaway)
        else goaway()
      },
      close: () => session.close(),
    }
    const resets = new ResetBudget()
    // Garbage and lost connections; 'close' follows, and open exchanges record themselves.
    session.on('error', () => connection.socket.destroy())
    // Sockets here may be half open; an HTTP/2 client that has stopped sending has left.
    connection.socket.on('end', () => session.destroy())
    session.on(
      'stream',
      (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number, rawHeaders: string[]) => {
        const downstream = this.#serve(connection, stream, headers, flags, rawHeaders)
        stream.on('close', () => {
          if (downstream.resetByClient && !resets.spend()) calm(session)
        })
      },
    )
    session.setTimeout(keepAliveMs)
    // Not as the callback of setTimeout(), which Node calls once only.
    session.on('timeout', () => {
      if (connection.open === 0) session.close()
      else session.setTimeout(keepAliveMs)
    })
  }

  #serve(
    connection: Connection,
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    flags: number,
    rawHeaders: readonly string[],
  ): Http2Downstream {
    const expectsContinue = headers.expect?.toLowerCase() === '100-continue'
    const { stallTimeoutMs } = this.service
    const downstream = new Http2Downstream(stream, { connection, expectsContinue, stallTimeoutMs })
    const start = {
      method: headers[':method'] ?? '',
      target: headers[':path'] ?? '',
      version: '2.0',
      authority: headers[':authority'],
      body: (flags & constants.NGHTTP2_FLAG_END_STREAM) === 0,
    } as const
    this.service.serve(downstream, start, rawHeaders)
    return downstream
  }
}

/**
 * The peer opens streams only to cancel them (CVE-2023-44487), or to break them so that we reset them (CVE-2025-8671): it
 * is told so and loses the connection.
 */
function calm(session: ServerHttp2Session): void {
  if (session.destroyed) return
  session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM)
  // destroy() would send a GOAWAY of its own: let this one leave first.
  setImmediate(() => session.destroy())
}
