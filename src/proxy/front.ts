/**
 * The HTTP side of one worker: takes plaintext connections and serves what comes over them.
 *
 * Knows nothing of threads and of the addon: worker.ts connects the two. HTTP/1.x and HTTP/2 differ in how a
 * request arrives and how a connection is drained; from there on both are an exchange.
 */

import type { Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { HttpUpstream } from '../upstream/http1.ts'
import type { UpstreamOptions } from '../upstream/options.ts'
import { compileAuthorities } from './authority.ts'
import { clientFields } from './client-fields.ts'
import { Connection, type ConnectionFacts } from './connection.ts'
import { Forwarding } from './forwarding.ts'
import { Http1Listener } from './http1-listener.ts'
import { Http2Listener } from './http2-listener.ts'
import type { WorkerListener } from './messages.ts'
import { RequestRecorder } from './request-record.ts'
import { compileRoutes } from './router.ts'
import { Service, type ServiceOptions } from './service.ts'

/** What may change between two requests. */
export interface HttpFrontState {
  /** With the same ids at all times. */
  readonly listeners: readonly WorkerListener[]
  readonly upstreams: readonly UpstreamOptions[]
  /** Access log; undefined: none. */
  readonly log: Log | undefined
}

export interface HttpFrontOptions extends HttpFrontState {
  readonly metrics: Metrics
  /** A client that neither sends nor reads when it is its turn is given up after this; default 60 s. */
  readonly stallTimeoutMs?: number
  /** Makes TLS end a connection with a TCP reset; called before the plaintext socket is destroyed. */
  readonly reset: (handle: number) => void
}

/** nginx's client_body_timeout and send_timeout. */
const STALL_TIMEOUT_MS = 60_000
/** An idle connection lives this long after a drain began: a request may be on its way. */
const DRAIN_GRACE_MS = 2_000

export class HttpFront {
  readonly #reset: (handle: number) => void
  readonly #metrics: Metrics
  readonly #stallTimeoutMs: number
  #upstreams: ReadonlyMap<string, KnownUpstream> = new Map()
  /** They end when their last request has ended. */
  readonly #leaving = new Set<HttpUpstream>()
  readonly #http1 = new Map<number, Http1Listener>()
  readonly #http2 = new Map<number, Http2Listener>()
  readonly #connections = new Set<Connection>()
  #state: 'serving' | 'draining' | 'destroyed' = 'serving'
  #drained: Promise<void> | undefined
  #onEmpty: (() => void) | undefined

  constructor(options: HttpFrontOptions) {
    this.#reset = options.reset
    this.#metrics = options.metrics
    this.#stallTimeoutMs = options.stallTimeoutMs ?? STALL_TIMEOUT_MS
    this.#useUpstreams(options.upstreams)
    for (const listener of options.listeners) {
      const service = new Service(this.#serviceOptions(listener, options.log))
      this.#http1.set(listener.id, new Http1Listener(service))
      this.#http2.set(listener.id, new Http2Listener(service))
    }
  }

  /**
   * Requests that begin from now on are served by these, also on open connections; requests under way end as they began. An
   * upstream that is as before keeps its connections.
   */
  change(state: HttpFrontState): void {
    if (this.#state === 'destroyed') return
    const before = this.#upstreams
    this.#useUpstreams(state.upstreams)
    for (const listener of state.listeners) {
      const http1 = this.#http1.get(listener.id)
      if (http1 === undefined) continue
      const { service } = http1
      const { maxHeaderBytes, headerTimeoutMs } = service.listener
      service.change(this.#serviceOptions(listener, state.log))
      if (
        maxHeaderBytes !== listener.http.maxHeaderBytes ||
        headerTimeoutMs !== listener.http.headerTimeoutMs
      )
        http1.settingsChanged()
    }
    for (const connection of this.#connections) {
      const service = this.#http1.get(connection.facts.listenerId)?.service
      if (service !== undefined) connection.forwarding = forwardingOf(connection.facts, service)
    }
    for (const [name, { upstream }] of before)
      if (this.#upstreams.get(name)?.upstream !== upstream) this.#leave(upstream)
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#connections.size
  }

  /** Takes ownership of the socket. A connection of an unknown listener, or after `destroy()`, is closed. */
  accept(socket: Socket, facts: ConnectionFacts): void {
    const listeners = facts.alpnProtocol === 'h2' ? this.#http2 : this.#http1
    const listener = listeners.get(facts.listenerId)
    if (listener === undefined || this.#state === 'destroyed') {
      socket.destroy()
      return
    }
    const connection = new Connection({
      socket,
      facts,
      forwarding: forwardingOf(facts, listener.service),
      reset: this.#reset,
    })
    this.#connections.add(connection)
    socket.on('close', () => this.#forget(connection))
    listener.accept(connection)
    if (this.#state === 'draining') this.#drainOne(connection)
  }

  /**
   * Lets every request under way end, tells clients to come back elsewhere, and closes each connection when
   * it is idle. Ends when no connection is left. Idempotent.
   */
  drain(): Promise<void> {
    if (this.#state === 'serving') this.#state = 'draining'
    this.#drained ??= new Promise((resolve) => {
      this.#onEmpty = resolve
      for (const connection of this.#connections) this.#drainOne(connection)
      this.#checkEmpty()
    })
    return this.#drained
  }

  /** Closes everything now, and ends when each request that was cut off is recorded. Idempotent. */
  async destroy(): Promise<void> {
    this.#state = 'destroyed'
    const closed = [...this.#connections].map(
      ({ socket }) => new Promise((resolve) => socket.once('close', resolve)),
    )
    for (const connection of this.#connections) connection.cutOff()
    for (const listener of this.#http1.values()) listener.close()
    await Promise.all(closed)
    await nextTurn() // HTTP/2 streams close after their socket
    const upstreams = [...this.#upstreams.values()].map(({ upstream }) => upstream)
    await Promise.all([...upstreams, ...this.#leaving].map((upstream) => upstream.destroy()))
  }

  #useUpstreams(all: readonly UpstreamOptions[]): void {
    this.#upstreams = new Map(
      all.map((options) => {
        const known = this.#upstreams.get(options.name)
        const same = known !== undefined && isDeepStrictEqual(known.options, options)
        return [options.name, same ? known : { options, upstream: new HttpUpstream(options) }]
      }),
    )
  }

  #leave(upstream: HttpUpstream): void {
    this.#leaving.add(upstream)
    void upstream.closeWhenIdle().then(() => this.#leaving.delete(upstream))
  }

  #serviceOptions({ http, certificateNames }: WorkerListener, log: Log | undefined): ServiceOptions {
    const route = compileRoutes(http.routes, (name, { requireClientCertificate = false }) => {
      return { upstream: this.#upstream(name), requireClientCertificate }
    })
    const asksForCertificates = http.clientFields !== undefined
    const metrics = this.#metrics
    const recorder = new RequestRecorder({ listener: http.name, log, metrics, asksForCertificates })
    const belongs = certificateNames && compileAuthorities(certificateNames)
    return { listener: http, route, belongs, recorder, stallTimeoutMs: this.#stallTimeoutMs }
  }

  #upstream(name: string): HttpUpstream {
    const known = this.#upstreams.get(name)
    if (known === undefined) throw new Error(`a route names upstream "${name}", which does not exist`)
    return known.upstream
  }

  #drainOne(connection: Connection): void {
    connection.drain()
    const timer = setTimeout(() => connection.closeWhenIdle(), DRAIN_GRACE_MS)
    connection.socket.once('close', () => clearTimeout(timer))
  }

  #forget(connection: Connection): void {
    this.#connections.delete(connection)
    this.#checkEmpty()
  }

  #checkEmpty(): void {
    if (this.#connections.size === 0) this.#onEmpty?.()
  }
}

interface KnownUpstream {
  readonly options: UpstreamOptions
  readonly upstream: HttpUpstream
}

function forwardingOf(facts: ConnectionFacts, { listener, reservedFields }: Service): Forwarding {
  return new Forwarding(
    facts.peer,
    clientFields(listener.clientFields, facts.clientCertificate),
    reservedFields,
  )
}
