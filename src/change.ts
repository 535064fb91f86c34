/**
 * Puts another configuration into force while connections are open: proves it beside the one in use, then swaps.
 *
 *   what needs a restart? → new hosts beside the old: every new key signs → OpenSSL takes certificates, policies, CAs
 *     → OCSP responses that must be there are → HTTP workers have the new routes and names → TLS serves the new certificates → the keys are the new ones
 *
 * Whatever fails before TLS has taken it undoes what was done; after that nothing can fail.
 */

import type { Certificates } from './certificates.ts'
import { changedSections, coldChanges } from './config/cold-changes.ts'
import type { Config } from './config/config.ts'
import { ConfigError } from './errors.ts'
import type { ServiceKey } from './hsm/signing-service.ts'
import type { NativeAddon } from './native/addon.ts'
import { tlsState, workerOptions } from './part-states.ts'
import type { HttpWorkers } from './proxy/workers.ts'
import type { Stapling } from './stapling/stapling.ts'
import type { Credentials } from './tls/offers.ts'
import { proveState } from './tls/prove.ts'
import type { TlsFront } from './tls/tls-front.ts'

export interface ChangeParts {
  readonly addon: NativeAddon
  readonly certificates: Certificates
  readonly stapling: Stapling | undefined
  readonly tls: TlsFront
  /** undefined: there are no http listeners. */
  readonly workers: HttpWorkers | undefined
  /** What TLS signs with; the same object for the same key. */
  readonly keyFor: (key: ServiceKey) => Credentials['key']
}

export interface Changed {
  /** Keys of the configuration. */
  readonly changed: readonly string[]
  /** HSMs that have got a new host process. */
  readonly newHosts: readonly string[]
}

/**
 * @param signal it is not wanted any more.
 * @throws {ConfigError} what needs a restart; {HsmError} a key that nobody signs with; {NativeError}, {TlsError} what OpenSSL
 *   does not take; the signal's reason. Nothing has changed then.
 */
export async function changeTo(
  next: Config,
  before: Config,
  { addon, certificates, stapling, tls, workers, keyFor }: ChangeParts,
  signal: AbortSignal,
): Promise<Changed> {
  const cold = coldChanges(before, next)
  if (cold.length > 0) throw new ConfigError(cold)
  const change = certificates.change(next)
  const giveUp = (): void => void change.abandon()
  signal.addEventListener('abort', giveUp, { once: true })
  try {
    await change.prove(PROVE_MS)
    const state = tlsState(next, (index) => keyFor(change.key(index)))
    proveState(addon, state)
    // Beside those in use: a certificate that must not be without a response gets it before it is shown.
    stapling?.update([...before.certificates, ...next.certificates])
    await stapling?.firstAnswers(next.stapling.startWaitMs, signal, before.certificates)
    // First: whoever comes by a new name finds its routes.
    await workers?.change(workerOptions(next))
    signal.throwIfAborted()
    tls.change(state)
  } catch (error) {
    await change.abandon()
    await workers?.change(workerOptions(before))
    stapling?.update(before.certificates)
    throw error
  } finally {
    signal.removeEventListener('abort', giveUp)
  }
  // A handshake that has begun with the old certificate may still ask for its key.
  stapling?.update(next.certificates)
  change.commit(next.tls.handshakeTimeoutMs + next.signing.timeoutMs)
  return { changed: changedSections(before, next), newHosts: change.restarted }
}

// Some tokens need 20 s for C_Initialize and login.
const PROVE_MS = 30_000
