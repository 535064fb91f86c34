/** What the upstream side needs to know; produced by config/. All values are checked. */

import type { ProxyHeaderKind } from './proxy-header.ts'

export interface UpstreamOptions {
  readonly name: string
  readonly servers: readonly UpstreamServer[]
  readonly balance: 'round-robin'
  /** One TCP connect; http: also the wait for a connection when all are in use. */
  readonly connectTimeoutMs: number
  /** http: from the request's end to the response's headers, and between two chunks of a body. */
  readonly responseTimeoutMs: number
  /** http: idle keep-alive connections are closed after this. */
  readonly keepAliveMs: number
  /** http: connections per server and HTTP worker. */
  readonly connections: number
  /** tcp: a connection without a byte either way is closed after this. */
  readonly idleTimeoutMs: number
  /** tcp: the server gets a PROXY header first. */
  readonly proxyHeader: ProxyHeaderKind | undefined
}

/** A route of a tcp listener; what is undefined fits every connection. */
export interface TcpRouteOptions {
  /** Lower case, exact or `*.` for one label. */
  readonly serverName: string | undefined
  /** As negotiated (RFC 7301). */
  readonly alpn: string | undefined
  readonly upstream: string
}

export interface UpstreamServer {
  readonly scheme: 'http' | 'tcp'
  readonly host: string
  readonly port: number
}
