/** The listeners that speak TLS, as TLS wants them: an id is the place in the configuration. */

import type { ListenerTlsOptions } from '../tls/options.ts'
import type { Config } from './config.ts'

export function tlsListeners({
  listeners,
}: Config): { readonly id: number; readonly name: string; readonly tls: ListenerTlsOptions }[] {
  return listeners.flatMap((listener, id) =>
    listener.protocol === 'redirect' ? [] : [{ id, name: listener.name, tls: listener.tls }],
  )
}
