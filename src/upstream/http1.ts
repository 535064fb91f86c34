/**
 * HTTP/1.1 to the servers of one upstream, over keep-alive connections that undici pools.
 *
 * One instance per upstream and HTTP worker. Requests go through undici's dispatch interface: a handler
 * object, no stream and no promise per request.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { buildConnector, type Dispatcher, Pool } from 'undici'
import { addressText } from './address.ts'
import { Balancer } from './balancer.ts'
import { Http1Connection, type ResponseHandler } from './http1-connection.ts'
import type { UpstreamOptions, UpstreamServer } from './options.ts'

/** A server that refused a connection is asked again after this, or sooner when no other is left. */
const REST_MS = 5_000
/** Requests that wait for a connection, per server; past it the server counts as not available. */
const MAX_WAITING = 1024
const IDLE_LOOK_MS = 250
const IDLE_LOOKS = 2

export class HttpUpstream {
  readonly name: string
  /** How long a request may wait while all connections to its server are in use. */
  readonly maxWaitMs: number
  readonly #servers: readonly HttpServer[]
  readonly #balancer: Balancer<HttpServer>
  #closed: Promise<void> | undefined
  #destroyed = false

  constructor(options: UpstreamOptions) {
    this.name = options.name
    // As long as a new connection may take, as HAProxy's `timeout queue` by default.
    this.maxWaitMs = options.connectTimeoutMs
    this.#servers = options.servers.map((server) => new HttpServer(server, options))
    this.#balancer = new Balancer(this.#servers, { restMs: REST_MS })
  }

  /** How many servers there are. */
  get size(): number {
    return this.#servers.length
  }

  /**
   * The server whose turn it is, of those with a free connection if there are any; undefined when each was tried or has too
   * many requests waiting.
   */
  pick(tried: readonly HttpServer[]): HttpServer | undefined {
    const saturated = this.#servers.filter((server) => server.saturated)
    const free = saturated.length > 0 ? this.#balancer.pickAwake([...tried, ...saturated]) : undefined
    return free ?? this.#pickAny(tried)
  }

  #pickAny(tried: readonly HttpServer[]): HttpServer | undefined {
    const server = this.#balancer.pick(tried)
    return server?.full ? this.#pickAny([...tried, server]) : server
  }

  /** The server could not be reached: others are preferred for a while. */
  markFailed(server: HttpServer): void {
    this.#balancer.markFailed(server)
  }

  /** Ends when every request under way has ended. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= Promise.all(this.#servers.map((server) => server.close())).then(() => undefined)
    return this.#closed
  }

  /**
   * Ends when nobody asks it any more. Unlike after `close()`, a request under way may still be tried on another server.
   * Idempotent.
   */
  async closeWhenIdle(): Promise<void> {
    let idle = 0
    // Between a failure and the next try there is nothing under way for a moment.
    while (idle < IDLE_LOOKS && !this.#destroyed) {
      await delay(IDLE_LOOK_MS, undefined, { ref: false })
      idle = this.#servers.some((server) => server.busy) ? 0 : idle + 1
    }
    await this.close()
  }

  /** Fails what is under way and closes all connections. Idempotent. */
  async destroy(): Promise<void> {
    this.#destroyed = true
    await Promise.all(this.#servers.map((server) => server.destroy()))
  }
}

export class HttpServer {
  /** `host:port`. */
  readonly address: string
  readonly #pool: Pool
  readonly #connections: number
  #saturated = false

  constructor(server: UpstreamServer, options: UpstreamOptions) {
    this.address = addressText(server.host, server.port)
    this.#connections = options.connections
    const connect = buildConnector({ timeout: options.connectTimeoutMs })
    this.#pool = new Pool(`http://${this.address}`, {
      factory: (origin, settings) => new Http1Connection(origin, { ...settings, connect }),
      connections: options.connections,
      // Pipelined requests would share the fate of the one in front.
      pipelining: 1,
      headersTimeout: options.responseTimeoutMs,
      bodyTimeout: options.responseTimeoutMs,
      keepAliveTimeout: options.keepAliveMs,
      keepAliveMaxTimeout: options.keepAliveMs,
    })
    this.#pool.on('drain', () => {
      this.#saturated = false
    })
  }

  /** Requests are under way or wait. */
  get busy(): boolean {
    const { running, pending, queued } = this.#pool.stats
    return running + pending + queued > 0
  }

  /**
   * Every connection is busy: the next request waits. Counted, not remembered: one that is passed over gets
   * no request that would correct what is remembered of it.
   */
  get saturated(): boolean {
    return this.#saturated && this.#pool.stats.size >= this.#connections
  }

  /** Every connection is busy and the queue for them is full. */
  get full(): boolean {
    return this.#saturated && this.#pool.stats.queued >= MAX_WAITING
  }

  /**
   * Sends a request when a connection is free.
   * The handler's `onError` is called exactly once unless `onComplete` is; possibly before this returns.
   * @returns false: all connections are in use, and the request waits for as long as they are. It cannot be taken back
   *   before `onConnect`.
   */
  dispatch(request: Dispatcher.DispatchOptions, handler: ResponseHandler): boolean {
    const waitedBefore = this.#saturated ? this.#pool.stats.queued : 0
    this.#saturated = !this.#pool.dispatch(request, handler)
    return !this.#saturated || this.#pool.stats.queued <= waitedBefore
  }

  close(): Promise<void> {
    return this.#pool.closed ? Promise.resolve() : this.#pool.close()
  }

  destroy(): Promise<void> {
    return this.#pool.destroyed ? Promise.resolve() : this.#pool.destroy()
  }
}
