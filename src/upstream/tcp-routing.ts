/** Where a connection in tcp mode goes: its listener's routes name an upstream, the upstream the addresses. */

import { isDeepStrictEqual } from 'node:util'
import type { TcpRouteOptions, UpstreamOptions } from './options.ts'
import { type ProxiedConnection, proxyHeader } from './proxy-header.ts'
import { type TcpAddress, TcpUpstream } from './tcp.ts'
import { compileTcpRoutes, type TcpRouter } from './tcp-routes.ts'

/** What may change between two connections. */
export interface TcpRoutingState {
  readonly listeners: readonly { readonly id: number; readonly routes: readonly TcpRouteOptions[] }[]
  readonly upstreams: readonly UpstreamOptions[]
}

export interface TcpDestination {
  /** In the order in which to try them. */
  readonly addresses: readonly TcpAddress[]
  readonly connectTimeoutMs: number
  readonly idleTimeoutMs: number
  /** For the server, before the first byte of the client. */
  readonly preface: Uint8Array
}

export class TcpRouting {
  #routers: ReadonlyMap<number, TcpRouter> = new Map()
  #upstreams: ReadonlyMap<string, KnownUpstream> = new Map()

  constructor(state: TcpRoutingState) {
    this.change(state)
  }

  /** For connections that come from now on. An upstream that is as before keeps what it knows of its servers. */
  change({ listeners, upstreams }: TcpRoutingState): void {
    this.#routers = new Map(listeners.map(({ id, routes }) => [id, compileTcpRoutes(routes)]))
    this.#upstreams = new Map(
      upstreams.map((options) => {
        const known = this.#upstreams.get(options.name)
        const same = known !== undefined && isDeepStrictEqual(known.options, options)
        return [options.name, same ? known : { options, upstream: new TcpUpstream(options) }]
      }),
    )
  }

  /**
   * @throws {RequestError} `ERR_REQUEST_NO_ROUTE`; {UpstreamError} `ERR_UPSTREAM_NONE_AVAILABLE` when no server's name
   *   resolves.
   */
  async destination(
    connection: ProxiedConnection & { readonly listenerId: number },
  ): Promise<TcpDestination> {
    const name = this.#routers.get(connection.listenerId)?.(connection) ?? ''
    const known = this.#upstreams.get(name)
    if (known === undefined) throw new RangeError(`no upstream "${name}"`)
    const { connectTimeoutMs, idleTimeoutMs, proxyHeader: kind } = known.options
    const preface = kind === undefined ? new Uint8Array() : proxyHeader(connection, kind)
    return { addresses: await known.upstream.addresses(), connectTimeoutMs, idleTimeoutMs, preface }
  }

  /** @param address `host:port` that could not be reached. */
  markFailed(address: string): void {
    for (const { upstream } of this.#upstreams.values()) upstream.markFailed(address)
  }
}

interface KnownUpstream {
  readonly options: UpstreamOptions
  readonly upstream: TcpUpstream
}
