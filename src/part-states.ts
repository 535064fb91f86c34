/** What each part is made from, and changed to: its share of a configuration. */

import type { Config } from './config/config.ts'
import { askingListeners, tlsListeners } from './config/tls-listeners.ts'
import type { WorkerOptions } from './proxy/messages.ts'
import type { Credentials } from './tls/offers.ts'
import type { TlsState } from './tls/tls-front.ts'
import type { TcpRoutingState } from './upstream/tcp-routing.ts'

/** @param keyFor the key of the certificate at that place. */
export function tlsState(config: Config, keyFor: (index: number) => Credentials['key']): TlsState {
  return {
    tls: config.tls,
    signTimeoutMs: config.signing.timeoutMs,
    credentials: config.certificates.map(({ certificate }, index) => ({ certificate, key: keyFor(index) })),
    listeners: tlsListeners(config),
    asking: {
      listeners: askingListeners(config),
      intervalMs: config.reload.watch === 'off' ? undefined : config.reload.intervalMs,
    },
    accessLog: config.log.access,
  }
}

/** Without a listener there is nothing for HTTP workers to do. */
export function workerOptions({ listeners, certificates, upstreams, log }: Config): WorkerOptions {
  const certificateNames = certificates.map(({ certificate }) => certificate.names)
  return {
    listeners: listeners.flatMap((listener, id) =>
      listener.protocol === 'http'
        ? [{ id, http: listener.http, ...(listener.misdirected === 'refuse' && { certificateNames }) }]
        : [],
    ),
    upstreams: upstreams.filter(({ servers }) => servers[0]?.scheme === 'http'),
    log,
  }
}

export function tcpRoutingState({ listeners, upstreams }: Config): TcpRoutingState {
  return {
    listeners: listeners.flatMap((listener, id) =>
      listener.protocol === 'tcp' ? [{ id, routes: listener.routes }] : [],
    ),
    upstreams,
  }
}
