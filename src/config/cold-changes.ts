/**
 * What cannot change while Sealgate runs: sockets, threads, and whoever owns a file. All of it is found at once, each with
 * its place; everything else is hot.
 */

import { isDeepStrictEqual } from 'node:util'
import type { ConfigProblem } from '../errors.ts'
import type { Config, ListenerOptions } from './config.ts'
import type { Path } from './document.ts'
import { problemsAt } from './places.ts'

/** @returns one problem for each key whose change needs a restart; empty when the next configuration can be applied. */
export function coldChanges(now: Config, next: Config): readonly ConfigProblem[] {
  const changed: Change[] = [
    ...COLD.flatMap(([path, value]) =>
      isDeepStrictEqual(value(now), value(next)) ? [] : [{ path, message: NEEDS_RESTART }],
    ),
    ...listenerChanges(now.listeners, next.listeners),
  ]
  return problemsAt(next, 'ERR_CONFIG_RESTART', changed)
}

/** Sections that are not the same, those whose files have changed included. */
export function changedSections(now: Config, next: Config): readonly string[] {
  const before = new Map<string, unknown>(Object.entries(now))
  return Object.entries(next).flatMap(([name, value]) =>
    ABOUT_THE_FILE.has(name) || isDeepStrictEqual(value, before.get(name)) ? [] : [name],
  )
}

const ABOUT_THE_FILE: ReadonlySet<string> = new Set(['file', 'text', 'sha256', 'warnings'])

interface Change {
  readonly path: Path
  readonly message: string
}

const NEEDS_RESTART = 'cannot change while Sealgate runs: take the change back, or restart'

/** Key and value. What is said of each is the same. */
const COLD: readonly (readonly [Path, (config: Config) => unknown])[] = [
  [['tls', 'handshake_timeout'], ({ tls }) => tls.handshakeTimeoutMs],
  [['tls', 'ticket_rotation'], ({ tls }) => tls.ticketRotationMs],
  [['tls', 'tickets'], ({ sharedTickets }) => sharedTickets],
  [['ocsp', 'cache'], ({ stapling }) => stapling.cache],
  [['ocsp', 'timeout'], ({ stapling }) => stapling.timeoutMs],
  [['admin'], ({ admin }) => admin],
  [['threads'], ({ threads }) => threads],
  [['audit'], ({ audit }) => audit],
]

/** Their ids are their places in the list. */
function listenerChanges(now: readonly ListenerOptions[], next: readonly ListenerOptions[]): Change[] {
  const same = now.length === next.length && now.every(({ name }, index) => name === next[index]?.name)
  if (!same) {
    const message = `listeners cannot be added, removed, renamed or put in another order while Sealgate runs: ${RESTART_FOR_IT}`
    return [{ path: ['listeners'], message }]
  }
  return next.flatMap((listener, index) => {
    const before = now[index]
    return before === undefined ? [] : changesOf(before, listener, ['listeners', index])
  })
}

const RESTART_FOR_IT = 'take it back, or restart'

function changesOf(before: ListenerOptions, after: ListenerOptions, path: Path): Change[] {
  const keys = COLD_OF_LISTENERS.filter(([, value]) => !isDeepStrictEqual(value(before), value(after)))
  const cold = keys.map(([key]) => ({ path: [...path, key], message: NEEDS_RESTART }))
  if (!asks(before) || asks(after)) return cold
  const message = `cannot be taken out while Sealgate runs (mode: request can): ${RESTART_FOR_IT}`
  return [...cold, { path: [...path, 'client_certificate'], message }]
}

const COLD_OF_LISTENERS: readonly (readonly [string, (listener: ListenerOptions) => unknown])[] = [
  ['protocol', ({ protocol }) => protocol],
  ['address', ({ address }) => address],
  ['proxy_protocol', (listener) => ('proxyNetworks' in listener ? listener.proxyNetworks : undefined)],
  ['max_connections', (listener) => ('limits' in listener ? listener.limits.connections : undefined)],
  ['max_handshakes', (listener) => ('limits' in listener ? listener.limits.handshakes : undefined)],
  [
    'max_connections_per_address',
    (listener) => ('limits' in listener ? listener.limits.connectionsPerAddress : undefined),
  ],
  ['alpn', (listener) => (listener.protocol === 'tcp' ? listener.alpn : undefined)],
  ['keep_alive', (listener) => (listener.protocol === 'http' ? listener.http.keepAliveMs : undefined)],
]

function asks(listener: ListenerOptions): boolean {
  return listener.protocol !== 'redirect' && listener.clientAuthentication !== undefined
}
