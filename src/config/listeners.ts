/** `listeners` → ListenerOptions: routes that lead somewhere, and no two on one address. */

import type { Route } from '../proxy/options.ts'
import type { ConnectionLimits, ListenAddress, ListenerTlsOptions, Network } from '../tls/options.ts'
import type { TcpRouteOptions, UpstreamOptions, UpstreamServer } from '../upstream/options.ts'
import {
  checkRouteRequirement,
  resolveClientAuthentication,
  resolveClientFields,
} from './client-certificates.ts'
import type { ListenerOptions } from './config.ts'
import type { Path } from './document.ts'
import { type Context, checkReference, type Entry } from './entries.ts'
import type { ListenerEntry, RouteEntry } from './listener-schema.ts'
import { resolveListenerPolicy } from './tls-policy.ts'

/** What a listener may refer to. */
export interface Targets {
  /** Every name in the file, also of upstreams with problems of their own. */
  readonly names: ReadonlySet<string>
  readonly upstreams: readonly UpstreamOptions[]
}

type HttpEntry = Extract<ListenerEntry, { protocol: 'http' }>
type TcpEntry = Extract<ListenerEntry, { protocol: 'tcp' }>

export function resolveListener(
  entry: Entry<ListenerEntry>,
  targets: Targets,
  context: Context,
): ListenerOptions {
  const { path, value } = entry
  const { address } = value
  const name = value.name ?? `listeners[${entry.name}]`
  const clientPath = [...path, 'client_certificate']
  switch (value.protocol) {
    case 'http': {
      const http = {
        name,
        routes: resolveRoutes(path, value, targets, context),
        maxHeaderBytes: value.max_header,
        headerTimeoutMs: value.header_timeout,
        keepAliveMs: value.keep_alive,
        clientFields: resolveClientFields(clientPath, value.client_certificate, context),
      }
      return {
        protocol: 'http',
        name,
        address,
        proxyNetworks: proxyNetworks(path, value, context),
        limits: limitsOf(value),
        http,
        tls: resolveTls(path, value, context),
        misdirected: value.misdirected,
        clientAuthentication: resolveClientAuthentication(clientPath, value.client_certificate, context),
      }
    }
    case 'tcp':
      return {
        protocol: 'tcp',
        name,
        address,
        proxyNetworks: proxyNetworks(path, value, context),
        limits: limitsOf(value),
        routes: resolveTcpRoutes(path, value, targets, context),
        tls: resolveTls(path, value, context),
        alpn: value.alpn,
        clientAuthentication: resolveClientAuthentication(clientPath, value.client_certificate, context),
      }
    case 'redirect':
      return { protocol: 'redirect', name, address }
  }
}

function limitsOf(value: HttpEntry | TcpEntry): ConnectionLimits {
  return {
    connections: value.max_connections,
    handshakes: value.max_handshakes,
    connectionsPerAddress: value.max_connections_per_address,
  }
}

function proxyNetworks(
  path: Path,
  { proxy_protocol }: Pick<HttpEntry, 'proxy_protocol'>,
  { report }: Context,
): readonly Network[] {
  const networks = proxy_protocol?.from ?? []
  const everybody = networks.findIndex(({ prefix }) => prefix === 0)
  if (everybody >= 0) {
    report.warn(
      [...path, 'proxy_protocol', 'from', everybody],
      'is everybody: whoever connects can claim any address; name the networks of the balancers only',
    )
  }
  return networks
}

function resolveTls(
  path: Path,
  { tls }: Exclude<ListenerEntry, { protocol: 'redirect' }>,
  context: Context,
): ListenerTlsOptions {
  return {
    policy: resolveListenerPolicy([...path, 'tls'], tls, context),
    unknownServerName: tls.unknown_server_name,
  }
}

/** Upstreams that the listener sends to. */
export function upstreamsOf(listener: ListenerOptions): readonly string[] {
  switch (listener.protocol) {
    case 'http':
      return listener.http.routes.map(({ upstream }) => upstream)
    case 'tcp':
      return listener.routes.map(({ upstream }) => upstream)
    case 'redirect':
      return []
  }
}

/** Two sockets on one address, or two names that are one in metrics. */
export function checkDistinct(
  listeners: readonly Entry<ListenerOptions>[],
  admin: ListenAddress | undefined,
  { report }: Context,
): void {
  const addresses = new Map<string, string>()
  const names = new Set<string>()
  for (const { path, value } of listeners) {
    const address = addressText(value.address)
    const other = addresses.get(address)
    if (other !== undefined)
      report.error([...path, 'address'], `${address} is the address of ${other} already`)
    // Port 0 is another port for each.
    else if (value.address.port !== 0) addresses.set(address, value.name)
    if (names.has(value.name))
      report.error([...path, 'name'], `another listener is named "${value.name}" already`)
    names.add(value.name)
  }
  const other = admin && addresses.get(addressText(admin))
  if (other !== undefined) {
    report.error(
      ['admin', 'address'],
      `is the address of ${other} already: choose another one, or admin: off`,
    )
  }
}

function resolveRoutes(path: Path, entry: HttpEntry, targets: Targets, context: Context): readonly Route[] {
  const { report } = context
  if ((entry.routes === undefined) === (entry.upstream === undefined)) {
    report.error(path, 'must say where requests go: either routes or upstream (short for one route)')
    return []
  }
  if (entry.upstream !== undefined) {
    checkUpstream([...path, 'upstream'], { name: entry.upstream, scheme: 'http' }, targets, context)
    return [{ host: undefined, path: undefined, upstream: entry.upstream }]
  }
  const routes = (entry.routes ?? []).map((route, index) => {
    const resolved = resolveRoute([...path, 'routes', index], route, targets, context)
    const place = [...path, 'routes', index, 'client_certificate']
    checkRouteRequirement(place, resolved, entry.client_certificate, context)
    return resolved
  })
  const last = routes.findIndex(({ host, path }) => host === undefined && path === undefined)
  warnNeverReached(path, { last, count: routes.length }, context)
  return routes
}

function resolveTcpRoutes(
  path: Path,
  entry: TcpEntry,
  targets: Targets,
  context: Context,
): readonly TcpRouteOptions[] {
  const { report } = context
  if ((entry.routes === undefined) === (entry.upstream === undefined)) {
    report.error(path, 'must say where the bytes go: either routes or upstream (short for one route)')
    return []
  }
  if (entry.upstream !== undefined) {
    checkUpstream([...path, 'upstream'], { name: entry.upstream, scheme: 'tcp' }, targets, context)
    return [{ serverName: undefined, alpn: undefined, upstream: entry.upstream }]
  }
  const routes = (entry.routes ?? []).map((route, index): TcpRouteOptions => {
    const at = [...path, 'routes', index]
    checkUpstream([...at, 'upstream'], { name: route.upstream, scheme: 'tcp' }, targets, context)
    const serverName = route.match?.server_name?.toLowerCase()
    const alpn = route.match?.alpn
    if (serverName !== undefined && !SERVER_NAME.test(serverName)) {
      report.error(
        [...at, 'match', 'server_name'],
        'is no server name: write db.example.com or *.example.com',
      )
    }
    if (alpn !== undefined && !entry.alpn.includes(alpn)) {
      report.error([...at, 'match', 'alpn'], `"${alpn}" is never agreed on: add it to the listener's alpn`)
    }
    return { serverName, alpn, upstream: route.upstream }
  })
  const last = routes.findIndex(({ serverName, alpn }) => serverName === undefined && alpn === undefined)
  warnNeverReached(path, { last, count: routes.length }, context)
  return routes
}

/** @param routes.last the first one that matches everything; -1: none does. */
function warnNeverReached(
  path: Path,
  { last, count }: { last: number; count: number },
  { report }: Context,
): void {
  if (last < 0 || last === count - 1) return
  report.warn(
    [...path, 'routes', last + 1],
    'is never reached: the route before it matches everything; move that one to the end',
  )
}

function resolveRoute(path: Path, route: RouteEntry, targets: Targets, context: Context): Route {
  checkUpstream([...path, 'upstream'], { name: route.upstream, scheme: 'http' }, targets, context)
  const host = route.match?.host?.toLowerCase()
  if (host !== undefined && !ROUTE_HOST.test(host)) {
    context.report.error(
      [...path, 'match', 'host'],
      'is no host to match: write a name without port, exact (example.com) or with a wildcard for its first label (*.example.com)',
    )
  }
  const requireClientCertificate = route.client_certificate === 'require'
  return { host, path: route.match?.path, upstream: route.upstream, requireClientCertificate }
}

function checkUpstream(
  path: Path,
  wanted: { readonly name: string; readonly scheme: UpstreamServer['scheme'] },
  { names, upstreams }: Targets,
  { report }: Context,
): void {
  const { name, scheme } = wanted
  if (!checkReference(report, path, { name, section: 'upstreams', names })) return
  const servers = upstreams.find((upstream) => upstream.name === name)?.servers ?? []
  if (servers.some((server) => server.scheme !== scheme)) {
    report.error(path, `the servers of "${name}" are not ${scheme}://, which this protocol needs`)
  }
}

function addressText({ host, port }: ListenAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

const NAME = String.raw`(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*`
const SERVER_NAME = new RegExp(`^${NAME}$`)
const ROUTE_HOST = new RegExp(String.raw`^(?:${NAME}|\[[0-9a-f:.]+\])$`)
