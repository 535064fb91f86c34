/** `upstreams` → UpstreamOptions. */

import { isIP } from 'node:net'
import type { UpstreamOptions, UpstreamServer } from '../upstream/options.ts'
import type { Context, Entry } from './entries.ts'
import type { UpstreamEntry } from './schema.ts'

export function resolveUpstream(
  entry: Entry<UpstreamEntry>,
  { report }: Context,
): UpstreamOptions | undefined {
  const { path, name, value } = entry
  const servers: UpstreamServer[] = []
  for (const [index, text] of value.servers.entries()) {
    const server = parseServer(text)
    if (typeof server === 'string') report.error([...path, 'servers', index], server)
    else servers.push(server)
  }
  if (servers.length < value.servers.length) return undefined
  if (new Set(servers.map(({ scheme }) => scheme)).size > 1) {
    report.error([...path, 'servers'], 'mixes http:// and tcp://: make an upstream of each')
    return undefined
  }
  return {
    name,
    servers,
    balance: value.balance,
    connectTimeoutMs: value.connect_timeout,
    responseTimeoutMs: value.response_timeout,
    keepAliveMs: value.keep_alive,
    connections: value.connections,
    idleTimeoutMs: value.idle_timeout,
    proxyHeader: value.proxy_protocol === 'off' ? undefined : value.proxy_protocol,
  }
}

/** @returns the server, or what is wrong with it; user and password of a URL are never repeated. */
function parseServer(text: string): UpstreamServer | string {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase()
  if (scheme === undefined) return 'is no URL: write http://host:port or tcp://host:port'
  if (scheme !== 'http' && scheme !== 'tcp')
    return SCHEME_CURES[scheme] ?? `${scheme}:// is not supported: use http:// or tcp://`
  // Parsed as http, so that the host is checked; `tcp` is nothing the URL standard knows.
  const httpText = `http${text.slice(scheme.length)}`
  if (!URL.canParse(httpText)) return 'is no URL: check the host and the port'
  const url = new URL(httpText)
  if (url.username !== '' || url.password !== '')
    return 'holds a user name or password, which is never sent: remove it'
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') {
    return 'has a path or query: a server is scheme, host and port; the path of the request is passed on as it is'
  }
  // `:80` in an http URL is dropped by the parser, so look at the text.
  const port =
    url.port !== '' ? Number(url.port) : scheme === 'http' || /:0*80\/?$/.test(text) ? HTTP_PORT : undefined
  if (port === undefined) return 'has no port: write tcp://host:port'
  if (port === 0) return 'has port 0, to which nothing can connect'
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  if (isIP(host) === 0 && !HOST_NAME.test(host)) return 'has no valid host name'
  return { scheme, host, port }
}

const HTTP_PORT = 80
const HOST_NAME =
  /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*\.?$/
const SCHEME_CURES: Readonly<Record<string, string>> = {
  h2c: 'h2c:// is not supported yet: use http://, which is HTTP/1.1',
  https:
    'https:// is not supported yet: Sealgate speaks plain text to its upstreams; use http:// on a network you trust',
  tls: 'tls:// is not supported yet: use tcp:// on a network you trust',
  unix: 'sockets in the file system are not supported yet: use http://127.0.0.1:port',
}
