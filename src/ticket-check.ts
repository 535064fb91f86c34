/** What `sealgate check` proves of shared ticket keys: every HSM wraps and unwraps, and opens what lies in the place. */

import type { Config } from './config/config.ts'
import { SealgateError, TicketsError } from './errors.ts'
import type { SigningService } from './hsm/signing-service.ts'
import { openTickets } from './ticket-sharing.ts'
import { firstKey, forget, freshSet } from './tickets/key-set.ts'
import { checkSealed, parseSealed, type SealedSet, seal, unseal } from './tickets/sealed-set.ts'
import type { Store } from './tickets/store.ts'
import type { WrappingKey } from './tickets/wrapping-key.ts'

export interface TicketFinding {
  readonly level: 'ok' | 'warning' | 'error'
  readonly subject: string
  readonly message: string
  readonly error?: SealgateError
}

/** @param signing has had its first tries. @returns nothing where nothing is shared. */
export async function ticketFindings(config: Config, signing: SigningService): Promise<TicketFinding[]> {
  if (config.sharedTickets === undefined) return []
  const { options, store, schedule } = openTickets(config)
  const key = signing.wrappingKey(options.key)
  const keys = options.key.hsms.map((hsm) => ({ hsm, key: key.in(hsm) }))
  try {
    const able = await Promise.all(
      keys.map(({ hsm, key }) =>
        finding(hsm, async () => {
          await tryOut(key, freshSet(schedule, Date.now()))
          return `wraps ticket keys with ${key.uri}, which cannot be extracted`
        }),
      ),
    )
    return [...able, ...(await placeFindings(store, keys))]
  } finally {
    await store.close()
  }
}

/** The host itself refuses a key that can be extracted, and opens once what it has wrapped. */
async function tryOut(key: WrappingKey, set: ReturnType<typeof freshSet>): Promise<void> {
  try {
    forget(await unseal(parseSealed(await seal(set, key)), key))
  } finally {
    forget(set)
  }
}

async function placeFindings(
  store: Store,
  keys: readonly { readonly hsm: string; readonly key: WrappingKey }[],
): Promise<TicketFinding[]> {
  let sealed: SealedSet | undefined
  const found = await finding(store.name, async () => {
    const text = await store.read()
    sealed = text === undefined ? undefined : parseSealed(text)
    const uri = keys[0]?.key.uri ?? ''
    const outlived = sealed?.key === uri && sealed.keys.every(({ untilMs }) => untilMs <= Date.now())
    if (outlived && (await store.isWritable())) {
      sealed = undefined
      return 'the shared ticket keys have expired, as after a time without any proxy: the first proxy replaces them'
    }
    if (sealed !== undefined) checkSealed(sealed, uri, Date.now())
    else if (await store.isWritable()) return 'no shared ticket keys yet: the first proxy makes them'
    else
      throw new TicketsError(
        'ERR_TICKETS_ABSENT',
        'there are no shared ticket keys, and they may not be written from here: sealgate tickets rotate --out',
      )
    const first = firstKey(sealed, Date.now())
    const until = new Date(Math.max(...sealed.keys.map(({ untilMs }) => untilMs))).toISOString()
    const since = first === undefined ? '' : `, one in use since ${new Date(first.fromMs).toISOString()}`
    return `${sealed.keys.length} shared ticket keys${since}; the last one ends at ${until}`
  })
  if (sealed === undefined || found.level === 'error') return [found]
  const set = sealed
  const opened = keys.map(({ hsm, key }) =>
    finding(hsm, async () => {
      forget(await unseal(set, key))
      return `opens the shared ticket keys in ${store.name}`
    }),
  )
  return [found, ...(await Promise.all(opened))]
}

async function finding(subject: string, prove: () => Promise<string>): Promise<TicketFinding> {
  try {
    return { level: 'ok', subject, message: await prove() }
  } catch (error) {
    if (!(error instanceof SealgateError)) throw error
    return { level: 'error', subject, message: error.message, error }
  }
}
