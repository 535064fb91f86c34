/** The listeners that speak TLS, as TLS wants them: an id is the place in the configuration. */

import type { ClientAuthenticationOptions, ListenerTlsOptions } from '../tls/options.ts'
import type { Config } from './config.ts'

export function tlsListeners({
  listeners,
}: Config): { readonly id: number; readonly name: string; readonly tls: ListenerTlsOptions }[] {
  return listeners.flatMap((listener, id) =>
    listener.protocol === 'redirect' ? [] : [{ id, name: listener.name, tls: listener.tls }],
  )
}

/** Of those, the ones that ask for client certificates. */
export function askingListeners({ listeners }: Config): {
  readonly id: number
  readonly name: string
  readonly authentication: ClientAuthenticationOptions
}[] {
  return listeners.flatMap((listener, id) => {
    const authentication = listener.protocol === 'redirect' ? undefined : listener.clientAuthentication
    return authentication === undefined ? [] : [{ id, name: listener.name, authentication }]
  })
}
