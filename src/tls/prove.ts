/** Would OpenSSL take it? A new state is tried on TLS threads of its own, which serve nobody. */

import type { NativeAddon, Terminator } from '../native/addon.ts'
import { applyLoaded } from './client-authentication.ts'
import { nativeCredentials } from './credentials.ts'
import { nativeEndpoints } from './endpoints.ts'
import type { TlsState } from './front-options.ts'

/**
 * @throws {NativeError} `ERR_NATIVE_OPENSSL` for a certificate or a word of a policy; {TlsError} `ERR_TLS_CLIENT_TRUST` for
 *   a client CA or a revocation list.
 */
export function proveState(addon: NativeAddon, state: TlsState): void {
  const terminator = idleTerminator(addon)
  try {
    const offers = state.credentials.map(({ certificate, key }) => {
      return { certificate, schemes: key.schemes, signable: true }
    })
    const groups = nativeCredentials(offers)
    if (groups.length > 0)
      terminator.setCredentials(nativeEndpoints(state.listeners, groups, offers, state.tls.ticketRotationMs))
    for (const listener of state.asking.listeners)
      applyLoaded(listener, (id, authentication) => terminator.setClientAuthentication(id, authentication))
  } finally {
    terminator.close()
  }
}

function idleTerminator(addon: NativeAddon): Terminator {
  const nothing = (): void => {}
  const callbacks = { onSign: nothing, onEstablished: nothing, onEvents: nothing }
  return new addon.Terminator({ threads: 1, handshakeTimeoutMs: 1, ...callbacks })
}
