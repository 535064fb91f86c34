/**
 * Chooses where a connection in tcp mode goes. Connecting and relaying is C++'s work.
 *
 * Names are resolved here, every few seconds at most, so that a service that moves is followed without a
 * reload. Connections do not wait for the resolver as long as one address is known, of whichever server and however
 * old: a dead name takes getaddrinfo seconds, and its neighbours are none the worse for it.
 */

import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { UpstreamError } from '../errors.ts'
import { addressText } from './address.ts'
import { Balancer } from './balancer.ts'
import type { UpstreamOptions, UpstreamServer } from './options.ts'

/** getaddrinfo tells no TTL: short enough to follow a service, long enough to spare the resolver. */
const RESOLVE_EVERY_MS = 5_000
/** A server that refused a connection comes last for this long. */
const REST_MS = 5_000

export interface TcpAddress {
  /** IP address. */
  readonly host: string
  readonly port: number
}

export class TcpUpstream {
  readonly name: string
  readonly #balancer: Balancer<Server>
  readonly #servers: readonly Server[]

  constructor(options: UpstreamOptions) {
    this.name = options.name
    this.#servers = options.servers.map((server) =>
      isIP(server.host) === 0 ? new NamedServer(server) : new FixedServer(server),
    )
    this.#balancer = new Balancer(this.#servers, { restMs: REST_MS })
  }

  /**
   * Addresses for one connection, in the order in which to try them: the server whose turn it is, then all
   * others as fallbacks, resting ones last. At once unless no address is known yet.
   * @throws {UpstreamError} `ERR_UPSTREAM_NONE_AVAILABLE` (as a rejection) when no server's name resolves.
   */
  addresses(): readonly TcpAddress[] | Promise<readonly TcpAddress[]> {
    const servers = this.#balancer.order()
    const known = servers.flatMap((server) => server.known())
    return known.length > 0 ? known : this.#firstResolved(servers)
  }

  /** @param address `host:port` as tried; an address that is nobody's is ignored. */
  markFailed(address: string): void {
    const server = this.#servers.find((candidate) => candidate.owns(address))
    if (server !== undefined) this.#balancer.markFailed(server)
  }

  async #firstResolved(servers: readonly Server[]): Promise<readonly TcpAddress[]> {
    try {
      await Promise.any(servers.map((server) => server.resolved()))
    } catch (error) {
      throw new UpstreamError(
        'ERR_UPSTREAM_NONE_AVAILABLE',
        `no server name of upstream "${this.name}" can be resolved`,
        { cause: error instanceof AggregateError ? error.errors[0] : error },
      )
    }
    return servers.flatMap((server) => server.known())
  }
}

interface Server {
  /** As far as known now; what is not fresh is asked for again in the background. */
  known(): readonly TcpAddress[]
  /** Ends when there is an address; rejects when there is none, at once if that has just been found out. */
  resolved(): Promise<void>
  owns(address: string): boolean
}

class FixedServer implements Server {
  readonly #addresses: readonly TcpAddress[]
  readonly #text: readonly string[]

  constructor({ host, port }: UpstreamServer) {
    this.#addresses = [{ host, port }]
    this.#text = texts(this.#addresses)
  }

  known(): readonly TcpAddress[] {
    return this.#addresses
  }

  resolved(): Promise<void> {
    return Promise.resolve()
  }

  owns(address: string): boolean {
    return this.#text.includes(address)
  }
}

class NamedServer implements Server {
  readonly #server: UpstreamServer
  #addresses: readonly TcpAddress[] = []
  #askedAtMs = Number.NEGATIVE_INFINITY
  /** The latest question, answered or not: a failure is not tried again by every connection. */
  #answer: Promise<void> = Promise.resolve()

  constructor(server: UpstreamServer) {
    this.#server = server
  }

  known(): readonly TcpAddress[] {
    // Who cannot wait takes what was right a moment ago, or nothing.
    this.resolved().catch(() => {})
    return this.#addresses
  }

  resolved(): Promise<void> {
    if (performance.now() - this.#askedAtMs >= RESOLVE_EVERY_MS) {
      // Until there is an answer no second question is asked, however long it takes.
      this.#askedAtMs = Number.POSITIVE_INFINITY
      this.#answer = this.#lookup().finally(() => {
        this.#askedAtMs = performance.now()
      })
    }
    return this.#answer
  }

  owns(address: string): boolean {
    return texts(this.#addresses).includes(address)
  }

  async #lookup(): Promise<void> {
    try {
      const found = await lookup(this.#server.host, { all: true })
      this.#addresses = found.map(({ address }) => ({ host: address, port: this.#server.port }))
    } catch (error) {
      // What was right a moment ago is a better guess than no address at all.
      if (this.#addresses.length === 0) throw error
    }
  }
}

/** C++ may write an IPv6 address with or without brackets. */
function texts(addresses: readonly TcpAddress[]): string[] {
  return addresses.flatMap(({ host, port }) => [addressText(host, port), `${host}:${port}`])
}
