/**
 * Chooses where a connection in tcp mode goes. Connecting and relaying is C++'s work.
 *
 * Names are resolved here, every few seconds at most, so that a service that moves is followed without a
 * reload; IP addresses never wait for the resolver.
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
   * others as fallbacks, resting ones last. At once when every server is an IP address or freshly resolved.
   * @throws {UpstreamError} `ERR_UPSTREAM_NONE_AVAILABLE` (as a rejection) when no server's name resolves.
   */
  addresses(): readonly TcpAddress[] | Promise<readonly TcpAddress[]> {
    const servers = this.#balancer.order()
    const known: TcpAddress[] = []
    for (const server of servers) {
      const addresses = server.known()
      if (addresses === undefined) return this.#resolve(servers)
      known.push(...addresses)
    }
    return known
  }

  /** @param address `host:port` as tried; an address that is nobody's is ignored. */
  markFailed(address: string): void {
    const server = this.#servers.find((candidate) => candidate.owns(address))
    if (server !== undefined) this.#balancer.markFailed(server)
  }

  async #resolve(servers: readonly Server[]): Promise<readonly TcpAddress[]> {
    const results = await Promise.allSettled(servers.map((server) => server.known() ?? server.resolve()))
    const addresses = results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []))
    if (addresses.length > 0) return addresses
    const failure = results.find((result) => result.status === 'rejected')
    throw new UpstreamError(
      'ERR_UPSTREAM_NONE_AVAILABLE',
      `no server name of upstream "${this.name}" can be resolved`,
      { cause: failure?.reason },
    )
  }
}

interface Server {
  /** undefined: must be resolved first. */
  known(): readonly TcpAddress[] | undefined
  resolve(): Promise<readonly TcpAddress[]>
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

  resolve(): Promise<readonly TcpAddress[]> {
    return Promise.resolve(this.#addresses)
  }

  owns(address: string): boolean {
    return this.#text.includes(address)
  }
}

class NamedServer implements Server {
  readonly #server: UpstreamServer
  #addresses: readonly TcpAddress[] = []
  #resolvedAtMs = Number.NEGATIVE_INFINITY
  #resolving: Promise<readonly TcpAddress[]> | undefined

  constructor(server: UpstreamServer) {
    this.#server = server
  }

  known(): readonly TcpAddress[] | undefined {
    const fresh = performance.now() - this.#resolvedAtMs < RESOLVE_EVERY_MS
    return fresh ? this.#addresses : undefined
  }

  /** One question at a time, however many connections wait for the answer. */
  resolve(): Promise<readonly TcpAddress[]> {
    this.#resolving ??= this.#lookup().finally(() => {
      this.#resolving = undefined
    })
    return this.#resolving
  }

  owns(address: string): boolean {
    return texts(this.#addresses).includes(address)
  }

  async #lookup(): Promise<readonly TcpAddress[]> {
    try {
      const found = await lookup(this.#server.host, { all: true })
      this.#addresses = found.map(({ address }) => ({ host: address, port: this.#server.port }))
      this.#resolvedAtMs = performance.now()
    } catch (error) {
      // What was right a moment ago is a better guess than no address at all.
      if (this.#addresses.length === 0) throw error
    }
    return this.#addresses
  }
}

/** C++ may write an IPv6 address with or without brackets. */
function texts(addresses: readonly TcpAddress[]): string[] {
  return addresses.flatMap(({ host, port }) => [addressText(host, port), `${host}:${port}`])
}
