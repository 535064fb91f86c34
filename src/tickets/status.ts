/** What `/status` and `tickets show` say of shared ticket keys: names and dates, never what is secret. */

import { type Dates, firstKey, type KeySet, keyName } from './key-set.ts'
import type { SealedSet } from './sealed-set.ts'

export interface SharedTicketStatus extends Partial<SetStatus> {
  /** A path, or the URL and key of a Redis. */
  readonly place: string
  /** URI of the AES key. */
  readonly key: string
  /** Whose key makes tickets. */
  readonly inUse: 'shared' | 'local'
  readonly rotates: 'here' | 'elsewhere' | 'unknown'
  readonly lookedAt: string | undefined
  /** Why the place or the set in it could not be used at the last look. */
  readonly problem: { readonly code: string; readonly message: string; readonly since: string } | undefined
}

export interface SetStatus {
  readonly created: string
  readonly keys: readonly {
    /** Hexadecimal, as the first 16 bytes of every ticket. */
    readonly name: string
    readonly state: 'next' | 'first' | 'previous' | 'expired'
    readonly from: string
    readonly until: string
  }[]
}

export function setStatus(set: KeySet, nowMs: number): SetStatus {
  const keys = set.keys.map((key) => ({ name: keyName(key), fromMs: key.fromMs, untilMs: key.untilMs }))
  return datedStatus({ createdMs: set.createdMs, keys }, nowMs)
}

/** Of a set that nobody has opened: nothing proves these dates. */
export function datedStatus(set: Pick<SealedSet, 'createdMs' | 'keys'>, nowMs: number): SetStatus {
  const first = firstKey(set, nowMs)
  const stateOf = (key: Dates): 'next' | 'first' | 'previous' | 'expired' => {
    if (key === first) return 'first'
    if (key.untilMs <= nowMs) return 'expired'
    return key.fromMs > nowMs ? 'next' : 'previous'
  }
  return {
    created: new Date(set.createdMs).toISOString(),
    keys: set.keys.map((key) => ({
      name: key.name,
      state: stateOf(key),
      from: new Date(key.fromMs).toISOString(),
      until: new Date(key.untilMs).toISOString(),
    })),
  }
}
