/** From `tls.tickets.shared` to the parts that share ticket keys: the place, the schedule, and the AES key in the HSMs. */

import type { Config } from './config/config.ts'
import { environmentValue } from './config/environment.ts'
import { SealgateError } from './errors.ts'
import { SigningService } from './hsm/signing-service.ts'
import type { WrappingKey } from './hsm/wrapping-key.ts'
import { createLog, type Log } from './log.ts'
import { createMetrics, type Metrics } from './metrics/metrics.ts'
import { FileStore } from './tickets/file-store.ts'
import type { SharedTicketOptions, TicketPlace } from './tickets/options.ts'
import { RedisStore } from './tickets/redis-store.ts'
import { type Schedule, scheduleFor } from './tickets/schedule.ts'
import { type SharedKeys, SharedTicketKeys } from './tickets/shared-ticket-keys.ts'
import type { Store } from './tickets/store.ts'

export type { SharedTicketKeys }

/** The process's own keys, in the metrics beside the shared ones; to be called before these are read. */
export function showOwnTicketKeys(
  metrics: Metrics,
  own: { readonly count: number; readonly sinceMs: number; readonly nextMs: number },
  shared: SharedTicketKeys | undefined,
): void {
  metrics.ticketKeys.set({ source: 'local' }, own.count)
  metrics.ticketKeySince.set({ source: 'local' }, own.sinceMs / 1000)
  metrics.ticketKeyNext.set({ source: 'local' }, own.nextMs / 1000)
  if (shared === undefined) metrics.ticketKeysInUse.set({ source: 'local' }, 1)
}

/** A node's part in sharing, not started; undefined when nothing is shared. */
export function shareTicketKeys(
  { sharedTickets, tls }: Config,
  parts: {
    readonly signing: SigningService
    readonly log: Log
    readonly metrics: Metrics
    readonly apply: (keys: SharedKeys) => void
  },
): SharedTicketKeys | undefined {
  if (sharedTickets === undefined) return undefined
  const { signing, log, metrics, apply } = parts
  return new SharedTicketKeys({
    store: openStore(sharedTickets.place),
    key: signing.wrappingKey(sharedTickets.key, { sparing: true }),
    schedule: scheduleFor(tls.ticketRotationMs),
    log,
    metrics,
    apply,
  })
}

export interface TicketTools {
  readonly options: SharedTicketOptions
  readonly store: Store
  readonly schedule: Schedule
  readonly key: WrappingKey
}

/**
 * For commands: hosts of the HSMs that hold the wrapping key, which are given no other key, until the action is over.
 *
 * @throws {SealgateError} `ERR_USAGE` when the configuration shares nothing.
 */
export async function withTicketTools<T>(
  config: Config,
  action: (tools: TicketTools) => Promise<T>,
): Promise<T> {
  const { log, flush } = createLog({ level: 'silent' })
  const { options, store, schedule } = openTickets(config)
  const signing = new SigningService({
    hsms: config.hsms.filter(({ name }) => options.key.hsms.includes(name)),
    keys: [],
    signing: config.signing,
    log,
    metrics: createMetrics(),
  })
  try {
    await signing.start()
    return await action({ options, store, schedule, key: signing.wrappingKey(options.key) })
  } finally {
    await signing.close()
    await store.close()
    flush()
  }
}

/** What needs no HSM; the caller closes the store. @throws {SealgateError} `ERR_USAGE`. */
export function openTickets({ sharedTickets, tls, file }: Config): Omit<TicketTools, 'key'> {
  if (sharedTickets === undefined)
    throw new SealgateError('ERR_USAGE', `${file} shares no ticket keys: it has no tls.tickets.shared`)
  return {
    options: sharedTickets,
    store: openStore(sharedTickets.place),
    schedule: scheduleFor(tls.ticketRotationMs),
  }
}

function openStore(place: TicketPlace): Store {
  if (place.kind === 'file') return new FileStore(place.file)
  return new RedisStore({ ...place, environment: environmentValue })
}
