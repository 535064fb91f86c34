/** Opens one listener of the configuration, of whichever protocol. */

import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { Config, ListenerOptions } from './config/config.ts'
import { TlsError } from './errors.ts'
import type { Log } from './log.ts'
import { startRedirect } from './proxy/redirect.ts'
import type { TlsFront } from './tls/tls-front.ts'

export interface OpenListener {
  readonly name: string
  readonly host: string
  readonly port: number
  readonly protocol: ListenerOptions['protocol']
}

export interface ListeningParts {
  readonly config: Config
  readonly tls: TlsFront
  readonly log: Log
  /** Those that are open already. */
  readonly open: readonly OpenListener[]
  /** Called with what stops a listener that TLS does not stop by itself. */
  readonly onStarted: (stop: () => unknown) => void
}

/** @throws {TlsError} `ERR_TLS_LISTEN` with the address and the cure. */
export async function openListener(id: number, parts: ListeningParts): Promise<OpenListener> {
  const { config, tls, log } = parts
  const listener = config.listeners[id]
  if (listener === undefined) throw new RangeError(`there is no listener ${id}`)
  const { name, protocol, address } = listener
  if (protocol === 'redirect') {
    const redirect = await startRedirect({ address, log, ...httpsPort(parts) })
    parts.onStarted(() => redirect.close())
    return { name, protocol, host: address.host, port: redirect.port }
  }
  const port = tls.listen({
    id,
    host: await ipAddress(address.host),
    port: address.port,
    mode: protocol,
    alpn: protocol === 'http' ? HTTP_ALPN : listener.alpn,
    proxyNetworks: listener.proxyNetworks,
    maxConnections: listener.limits.connections ?? 0,
    maxHandshakes: listener.limits.handshakes ?? 0,
    maxConnectionsPerAddress: listener.limits.connectionsPerAddress ?? 0,
    idleTimeoutMs: protocol === 'http' ? listener.http.keepAliveMs : config.tls.handshakeTimeoutMs,
  })
  return { name, protocol, host: address.host, port }
}

/** Where a redirect leads: the first http listener. */
function httpsPort({ config, open }: ListeningParts): { httpsPort?: number } {
  const https = open.find(({ protocol }) => protocol === 'http')
  const configured = config.listeners.find(({ protocol }) => protocol === 'http')
  const port = https?.port ?? configured?.address.port
  return port === undefined ? {} : { httpsPort: port }
}

/** The addon takes addresses only. @throws {TlsError} when the name has none. */
async function ipAddress(host: string): Promise<string> {
  if (isIP(host) !== 0) return host
  try {
    return (await lookup(host)).address
  } catch (cause) {
    throw new TlsError('ERR_TLS_LISTEN', `cannot listen on ${host}: the name has no address here`, { cause })
  }
}

/** In preference order; `curl --http1.0` offers the last one only. */
const HTTP_ALPN = ['h2', 'http/1.1', 'http/1.0']
