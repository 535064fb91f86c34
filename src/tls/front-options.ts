/** What the TLS endpoint is made from, and what of it a new configuration may change. */

import type { Log } from '../log.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { NativeAddon, NativeAddress, NativeConnectOptions, NativeEstablished } from '../native/addon.ts'
import type { AskingState, ClientAuthenticationsOptions } from './client-authentication.ts'
import type { TlsListener } from './endpoints.ts'
import type { HandshakeLimit } from './handshake-limits.ts'
import type { Credentials } from './offers.ts'
import type { TlsOptions } from './options.ts'

/** Where one connection in tcp mode goes. */
export interface TcpRoute extends NativeConnectOptions {
  /** IP addresses in the order in which to try them. */
  readonly addresses: readonly NativeAddress[]
}

/** What a new configuration may change while connections are open. */
export interface TlsState {
  readonly tls: TlsOptions
  readonly signTimeoutMs: number
  readonly credentials: readonly Credentials[]
  /** All that will listen; they name their TLS settings here, before. */
  readonly listeners: readonly TlsListener[]
  /** Listeners that ask for client certificates, before they listen. */
  readonly asking: AskingState
  /** Log every tcp connection that ends. */
  readonly accessLog: boolean
}

export interface TlsFrontOptions extends TlsState {
  readonly addon: NativeAddon
  readonly threads: number
  /** An open file to which every secret of every connection is written; see NativeAddon. */
  readonly keyLogFd?: number
  readonly clientAuthentication: Pick<ClientAuthenticationsOptions, 'read' | 'onReloaded'>
  readonly listenerName: (listenerId: number) => string
  readonly log: Log
  readonly metrics: Pick<Metrics, 'handshakeFailures' | 'tcpConnections' | 'acceptFailures'>
  /** A full handshake was past a limit. */
  readonly limited: (limit: HandshakeLimit, outcome: 'waited' | 'refused') => void
  readonly routeTcp: (connection: NativeEstablished) => TcpRoute | Promise<TcpRoute>
  readonly onConnectFailed: (upstreamAddress: string) => void
}
