/**
 * What both protocols of one listener lead to: a parsed request becomes an exchange or a refusal.
 *
 * Settings may change between two requests of one connection.
 */

import { RequestError, SealgateError } from '../errors.ts'
import type { HttpUpstream } from '../upstream/http1.ts'
import type { AuthorityCheck } from './authority.ts'
import type { Downstream } from './downstream.ts'
import { Exchange } from './exchange.ts'
import type { HttpListenerOptions } from './options.ts'
import { OwnAnswer } from './own-answer.ts'
import { otherReadings } from './path.ts'
import { type RequestHead, type RequestStart, requestHead } from './request-head.ts'
import type { RequestRecorder } from './request-record.ts'
import type { Router } from './router.ts'

export interface RouteTarget {
  readonly upstream: HttpUpstream
  readonly requireClientCertificate: boolean
}

export interface ServiceOptions {
  readonly listener: HttpListenerOptions
  readonly route: Router<RouteTarget>
  /** undefined: every host is served over every connection. */
  readonly belongs: AuthorityCheck | undefined
  readonly recorder: RequestRecorder
  /** A client whose turn it is and that neither sends nor reads for this long is given up. */
  readonly stallTimeoutMs: number
}

export class Service {
  #options: ServiceOptions
  #reservedFields: ReadonlySet<string>
  /** A route requires a client certificate; others may not. */
  #asksSome: boolean

  constructor(options: ServiceOptions) {
    this.#options = options
    this.#reservedFields = new Set(options.listener.reservedFields)
    this.#asksSome = asksSome(options.listener)
  }

  get listener(): HttpListenerOptions {
    return this.#options.listener
  }

  get recorder(): RequestRecorder {
    return this.#options.recorder
  }

  get stallTimeoutMs(): number {
    return this.#options.stallTimeoutMs
  }

  /** Names as reservedName() gives them. */
  get reservedFields(): ReadonlySet<string> {
    return this.#reservedFields
  }

  /** For requests that begin from now on. */
  change(options: ServiceOptions): void {
    this.#options = options
    this.#reservedFields = new Set(options.listener.reservedFields)
    this.#asksSome = asksSome(options.listener)
  }

  /** @param rawHeaders flat name/value list as received. */
  serve(downstream: Downstream, start: RequestStart, rawHeaders: readonly string[]): void {
    const { recorder, route, belongs } = this.#options
    let host = start.authority ?? ''
    try {
      if (REFUSED_METHODS.has(start.method)) throw methodRefused(start.method)
      const head = requestHead(start, rawHeaders, downstream.connection.forwarding)
      host = head.host
      if (head.path === '*') {
        OwnAnswer.send({ recorder, downstream, start, host, failure: undefined })
        return
      }
      const { serverName } = downstream.connection.facts
      if (belongs?.(serverName, head.host) === false) throw misdirected(head.host, serverName)
      const target = route(head.host, head.path)
      if (target === undefined) throw noRoute(head.host)
      if (downstream.connection.facts.clientCertificate === undefined) this.#checkWithout(head, target)
      new Exchange({ head, downstream, upstream: target.upstream, recorder }).start()
    } catch (error) {
      if (!(error instanceof SealgateError)) throw error
      OwnAnswer.send({ recorder, downstream, start, host, failure: error })
    }
  }

  /** A request without a client certificate: whatever its path names for the upstream must be open to it. */
  #checkWithout(head: RequestHead, target: RouteTarget): void {
    if (target.requireClientCertificate) throw certificateRequired()
    if (!this.#asksSome) return
    const readings = otherReadings(head.path)
    if (readings === 'ambiguous') throw ambiguous()
    const { route } = this.#options
    if (readings.some((path) => route(head.host, path)?.requireClientCertificate)) throw certificateRequired()
  }
}

function asksSome({ routes }: HttpListenerOptions): boolean {
  return routes.some(({ requireClientCertificate }) => requireClientCertificate)
}

/** A tunnel through us is not on offer; TRACE would show a page's script what it must not see. */
const REFUSED_METHODS: ReadonlySet<string> = new Set(['CONNECT', 'TRACE'])

function methodRefused(method: string): RequestError {
  return new RequestError('ERR_REQUEST_METHOD', `method ${method} is not served`)
}

function misdirected(host: string, serverName: string | undefined): RequestError {
  const asked = serverName === undefined ? 'no server name' : `server name "${serverName}"`
  return new RequestError(
    'ERR_REQUEST_MISDIRECTED',
    `host "${host}" is not on the certificate of this connection (${asked})`,
  )
}

function noRoute(host: string): RequestError {
  return new RequestError('ERR_REQUEST_NO_ROUTE', `no route serves host "${host}" with this path`)
}

function ambiguous(): RequestError {
  return new RequestError(
    'ERR_REQUEST_MALFORMED',
    'the request has a path that servers read differently, and a route of the listener requires a client certificate',
  )
}

function certificateRequired(): RequestError {
  return new RequestError('ERR_REQUEST_CLIENT_CERTIFICATE', 'the route requires a client certificate')
}
