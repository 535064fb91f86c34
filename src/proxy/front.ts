/**
 * The HTTP side of one worker: takes plaintext connections and serves what comes over them.
 *
 * Knows nothing of threads and of the addon: worker.ts connects the two. HTTP/1.x and HTTP/2 differ in how a
 * request arrives and how a connection is drained; from there on both are an exchange.
 */

import type { Socket } from 'node:net'
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
import { Service } from './service.ts'

export interface HttpFrontOptions {
  readonly listeners: readonly WorkerListener[]
  readonly upstreams: readonly UpstreamOptions[]
  /** Access log; undefined: none. */
  readonly log: Log | undefined
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
  readonly #upstreams: ReadonlyMap<string, HttpUpstream>
  readonly #http1 = new Map<number, Http1Listener>()
  readonly #http2 = new Map<number, Http2Listener>()
  readonly #connections = new Set<Connection>()
  #state: 'serving' | 'draining' | 'destroyed' = 'serving'
  #drained: Promise<void> | undefined
  #onEmpty: (() => void) | undefined

  constructor(options: HttpFrontOptions) {
    this.#reset = options.reset
    this.#upstreams = new Map(
      options.upstreams.map((upstream) => [upstream.name, new HttpUpstream(upstream)]),
    )
    const { log, metrics, stallTimeoutMs = STALL_TIMEOUT_MS } = options
    for (const { id, http, certificateNames } of options.listeners) {
      const route = compileRoutes(http.routes, (name, { requireClientCertificate = false }) => {
        return { upstream: this.#upstream(name), requireClientCertificate }
      })
      const asksForCertificates = http.clientFields !== undefined
      const recorder = new RequestRecorder({ listener: http.name, log, metrics, asksForCertificates })
      const belongs = certificateNames && compileAuthorities(certificateNames)
      const service = new Service({ listener: http, route, belongs, recorder, stallTimeoutMs })
      this.#http1.set(id, new Http1Listener(service))
      this.#http2.set(id, new Http2Listener(service))
    }
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

  /** Closes everything now. Idempotent. */
  async destroy(): Promise<void> {
    this.#state = 'destroyed'
    for (const connection of this.#connections) connection.abort()
    for (const listener of this.#http1.values()) listener.close()
    await Promise.all([...this.#upstreams.values()].map((upstream) => upstream.destroy()))
  }

  #upstream(name: string): HttpUpstream {
    const upstream = this.#upstreams.get(name)
    if (upstream === undefined) throw new Error(`a route names upstream "${name}", which does not exist`)
    return upstream
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

function forwardingOf(facts: ConnectionFacts, { listener, reservedFields }: Service): Forwarding {
  return new Forwarding(
    facts.peer,
    clientFields(listener.clientFields, facts.clientCertificate),
    reservedFields,
  )
}
