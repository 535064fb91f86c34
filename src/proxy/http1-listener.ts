/** Requests of HTTP/1.x connections, on a node:http server that never listens itself. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type ErrorCode, httpStatus, RequestError } from '../errors.ts'
import type { Connection } from './connection.ts'
import { rawErrorResponse } from './error-response.ts'
import { Http1Downstream } from './http1.ts'
import { Pipeline } from './pipeline.ts'
import { nextRequestId } from './request-record.ts'
import type { Service } from './service.ts'

/** How often header timeouts are looked at. */
const CHECK_EVERY_MS = 1_000

export class Http1Listener {
  readonly service: Service
  readonly #pipelines = new WeakMap<Duplex, Pipeline>()
  /** Takes new connections; node:http reads most settings only when a server is made. */
  #server: Server
  readonly #open = new WeakMap<Server, number>()

  constructor(service: Service) {
    this.service = service
    this.#server = this.#createServer()
  }

  accept(connection: Connection): void {
    const { socket } = connection
    const server = this.#server
    this.#pipelines.set(socket, new Pipeline(connection))
    this.#count(server, 1)
    socket.once('close', () => this.#count(server, -1))
    connection.farewell = { announce: () => {}, close: () => socket.destroySoon() }
    server.emit('connection', socket)
  }

  /** The service has other settings: new connections get them; open ones keep those that they began with. */
  settingsChanged(): void {
    const before = this.#server
    this.#server = this.#createServer()
    this.#count(before, 0)
  }

  close(): void {
    this.#server.close()
  }

  /** A server whose settings have been replaced goes with its last connection. */
  #count(server: Server, change: number): void {
    const open = (this.#open.get(server) ?? 0) + change
    this.#open.set(server, open)
    if (open === 0 && server !== this.#server) server.close()
  }

  #createServer(): Server {
    const { maxHeaderBytes, headerTimeoutMs, keepAliveMs } = this.service.listener
    const server = createServer({
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: headerTimeoutMs,
      // For the whole request, body included: a slow upload is none of our business.
      requestTimeout: 0,
      keepAliveTimeout: keepAliveMs,
      connectionsCheckingInterval: CHECK_EVERY_MS,
      insecureHTTPParser: false,
      // Checked in request-head.ts with everything else about Host, so that the refusal is recorded too.
      requireHostHeader: false,
    })
    server.on('request', (request, response) => this.#serve(request, response, false))
    server.on('checkContinue', (request, response) => this.#serve(request, response, true))
    // Any other expectation is ignored, as RFC 9110 §10.1.1 allows.
    server.on('checkExpectation', (request, response) => this.#serve(request, response, false))
    server.on('connect', (request, socket) => this.#onConnect(request, socket))
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => this.#onClientError(error, socket))
    // By default node:http drops what comes after a thousand fields: Content-Length, say, and the body with it. Their size is
    // limited, and that is enough.
    server.maxHeadersCount = 0
    server.timeout = this.service.stallTimeoutMs
    server.on('timeout', (socket) => this.#onTimeout(socket))
    // Header timeouts are enforced from this event on, which a server that does not listen never emits.
    server.emit('listening')
    return server
  }

  #serve(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const pipeline = this.#pipelines.get(request.socket)
    if (pipeline === undefined) return
    if (pipeline.isBusy)
      pipeline.wait(request, () => this.#begin(request, response, { pipeline, expectsContinue }))
    else this.#begin(request, response, { pipeline, expectsContinue })
  }

  #begin(
    request: IncomingMessage,
    response: ServerResponse,
    options: { readonly pipeline: Pipeline; readonly expectsContinue: boolean },
  ): void {
    const start = {
      method: request.method ?? '',
      target: request.url ?? '',
      version: request.httpVersionMinor === 0 ? '1.0' : '1.1',
      authority: undefined,
      body: false,
    } as const
    // node:http drops what it has read behind such a request: it would belong to the protocol that we do not change to.
    if (request.headers.upgrade !== undefined) response.shouldKeepAlive = false
    // Such a request is refused. Where it ends is somebody's guess, so nothing behind it may count as another one (RFC 9112 §6.1).
    const coding = request.headers['transfer-encoding']?.toLowerCase()
    if (coding !== undefined && (coding !== 'chunked' || start.version === '1.0'))
      response.shouldKeepAlive = false
    this.service.serve(new Http1Downstream(request, response, options), start, request.rawHeaders)
  }

  /** Nothing has moved for the keep-alive or the stall timeout. */
  #onTimeout(socket: Socket): void {
    const connection = this.#pipelines.get(socket)?.connection
    if (connection === undefined || connection.open === 0) socket.destroySoon()
    else if (connection.latest?.awaitsClient) {
      connection.closeWhenIdle()
      connection.latest.observer?.onDownstreamStalled()
    }
    // The upstream's turn; its own timeouts see to it.
    else socket.setTimeout(this.service.stallTimeoutMs)
  }

  /** Here node:http has let go of the socket, answers that are still under way or not. */
  #onConnect(request: IncomingMessage, socket: Duplex): void {
    const pipeline = this.#pipelines.get(socket)
    if (pipeline === undefined) return
    const { connection } = pipeline
    connection.socket.on('error', () => {})
    connection.socket.on('timeout', () => this.#onTimeout(connection.socket))
    connection.socket.on('drain', () => connection.latest?.observer?.onDownstreamDrain())
    const failure = new RequestError('ERR_REQUEST_METHOD', 'refused: ERR_REQUEST_METHOD')
    pipeline.refuse(() => this.#refuse(connection, failure, request))
  }

  #onClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
    const pipeline = this.#pipelines.get(socket)
    const code = CLIENT_ERRORS[error.code ?? ''] ?? 'ERR_REQUEST_MALFORMED'
    const gone = error.code === 'ECONNRESET' || error.code === 'EPIPE' || !socket.writable
    if (gone || pipeline === undefined) {
      socket.destroy()
      return
    }
    // Headers do not end when we do not read on. And what is refused already need not be refused again.
    if (pipeline.isRefused || (pipeline.holdsBack && code === 'ERR_REQUEST_TIMEOUT')) return
    // An end in the middle of it: nobody waits for an answer; one that has come before that is on its way.
    if (error.code === 'HPE_INVALID_EOF_STATE' && pipeline.receivesBody) {
      pipeline.connection.socket.destroySoon()
      return
    }
    const failure = new RequestError(code, error.message, { cause: error })
    pipeline.breakOff(failure, () => this.#refuse(pipeline.connection, failure, undefined))
  }

  /** Answers a request that node:http makes no response object of, and closes. */
  #refuse({ socket, facts }: Connection, failure: RequestError, request: IncomingMessage | undefined): void {
    const requestId = nextRequestId()
    const status = httpStatus(failure)
    socket.on('error', () => {})
    socket.end(rawErrorResponse(status, requestId), () => socket.destroy())
    this.service.recorder.add({
      facts,
      requestId,
      method: request?.method ?? '',
      host: request?.headers.host ?? '',
      target: request?.url ?? '',
      protocol: 'HTTP/1.1',
      status,
      aborted: false,
      bytesReceived: 0,
      bytesSent: 0,
      durationMs: 0,
      failure,
    })
  }
}

/** node:http's codes → ours; anything else is a malformed request. */
const CLIENT_ERRORS: Readonly<Record<string, Extract<ErrorCode, `ERR_REQUEST_${string}`>>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 'ERR_REQUEST_TIMEOUT',
  HPE_HEADER_OVERFLOW: 'ERR_REQUEST_HEADERS_TOO_LARGE',
}
