/** A configuration after loading: frozen, unit-free, every reference resolved. */

import type { AuditOptions } from '../audit/options.ts'
import type { HsmOptions, KeyOptions, SigningOptions } from '../hsm/options.ts'
import type { LogLevel } from '../log.ts'
import type { HttpListenerOptions } from '../proxy/options.ts'
import type { StaplingOptions, StaplingSource } from '../stapling/options.ts'
import type { SharedTicketOptions } from '../tickets/options.ts'
import type {
  CertificateOptions,
  ClientAuthenticationOptions,
  ConnectionLimits,
  ListenAddress,
  ListenerTlsOptions,
  Network,
  TlsOptions,
} from '../tls/options.ts'
import type { TcpRouteOptions, UpstreamOptions } from '../upstream/options.ts'

export interface Config {
  /** The file it came from; absolute. */
  readonly file: string
  /** As it was read: to be resolved again when a file that it names has changed. */
  readonly text: string
  /** SHA-256 of its bytes, hex: which configuration it was. */
  readonly sha256: string
  readonly hsms: readonly HsmOptions[]
  readonly certificates: readonly {
    readonly certificate: CertificateOptions
    readonly key: KeyOptions
    readonly stapling: StaplingSource
  }[]
  readonly listeners: readonly ListenerOptions[]
  readonly upstreams: readonly UpstreamOptions[]
  readonly signing: SigningOptions
  readonly tls: TlsOptions
  /** Ticket keys of a fleet; undefined: each process has its own. */
  readonly sharedTickets: SharedTicketOptions | undefined
  readonly stapling: StaplingOptions
  /** undefined: no admin endpoint. */
  readonly admin: { readonly address: ListenAddress } | undefined
  readonly threads: { readonly tls: number; readonly http: number; readonly scheduling: 'batch' | 'normal' }
  readonly log: { readonly level: LogLevel; readonly access: boolean }
  /** undefined: no audit log. */
  readonly audit: AuditOptions | undefined
  readonly reload: ReloadOptions
  /** TERM: how long open requests and connections may take to end. */
  readonly drainTimeoutMs: number
  /** Served, but the operator should know: an expired certificate, a PIN in the environment. */
  readonly warnings: readonly string[]
}

export interface ReloadOptions {
  /** Whose changes are taken up without a signal: certificate chains, client CAs and revocation lists; also the configuration; nothing's. */
  readonly watch: 'files' | 'all' | 'off'
  /** How often they are looked at. */
  readonly intervalMs: number
}

export type ListenerOptions =
  | {
      readonly protocol: 'http'
      readonly name: string
      readonly address: ListenAddress
      /** Balancers that begin with a PROXY header. */
      readonly proxyNetworks: readonly Network[]
      readonly limits: ConnectionLimits
      readonly tls: ListenerTlsOptions
      readonly http: HttpListenerOptions
      /** A request for a host that the connection's certificate does not have. */
      readonly misdirected: 'refuse' | 'serve'
      /** undefined: clients are not asked for a certificate. */
      readonly clientAuthentication: ClientAuthenticationOptions | undefined
    }
  | {
      readonly protocol: 'tcp'
      readonly name: string
      readonly address: ListenAddress
      readonly proxyNetworks: readonly Network[]
      readonly limits: ConnectionLimits
      readonly routes: readonly TcpRouteOptions[]
      readonly tls: ListenerTlsOptions
      readonly alpn: readonly string[]
      readonly clientAuthentication: ClientAuthenticationOptions | undefined
    }
  | { readonly protocol: 'redirect'; readonly name: string; readonly address: ListenAddress }
