/** One rotation: what is there, what comes after it, and putting it there unless somebody else has been quicker. */

import { TicketsError } from '../errors.ts'
import { forget, freshSet, hastenedSet, isDue, type KeySet, rotatedSet } from './key-set.ts'
import type { Schedule } from './schedule.ts'
import { checkSealed, parseSealed, seal, unseal } from './sealed-set.ts'
import type { Store } from './store.ts'
import type { WrappingKey } from './wrapping-key.ts'

/**
 * - `due`: another next key, if there is none.
 * - `now`: the next key's turn comes as soon as every node knows it.
 * - `replace`: a new set, and no ticket of before opens any more.
 */
export type RotateMode = 'due' | 'now' | 'replace'

export interface Rotation {
  /** What the place holds now, as text. */
  readonly text: string
  /** false: nothing was due, or another node was first. */
  readonly changed: boolean
}

export interface RotateOptions {
  readonly store: Pick<Store, 'read' | 'replace'>
  readonly key: WrappingKey
  readonly schedule: Schedule
  readonly mode: RotateMode
  readonly nowMs: number
}

/**
 * For a command: opens what is there, in the HSM, and forgets it.
 *
 * @throws {TicketsError | HsmError} when what is there cannot be opened, unless it is to be replaced or has expired.
 */
export async function rotate({ store, key, schedule, mode, nowMs }: RotateOptions): Promise<Rotation> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const text = await store.read()
    const before = text === undefined ? undefined : await openFor({ text, key, mode, nowMs })
    const after = nextSet(before, { schedule, mode, nowMs })
    try {
      if (after === undefined) return { text: text ?? '', changed: false }
      const sealed = await seal(after, key)
      if (await store.replace(text, sealed)) return { text: sealed, changed: true }
    } finally {
      if (before !== undefined && 'keys' in before) forget(before)
      if (after !== undefined) forget(after)
    }
    // Another node has done what was due. Whoever wants more than that goes on from there.
    if (mode === 'due') return { text: (await store.read()) ?? '', changed: false }
  }
  throw new TicketsError('ERR_TICKETS_PLACE', 'the shared ticket keys were changed by others all the time')
}

/** @returns undefined: nothing is due. */
export function nextSet(
  before: KeySet | Outlived | undefined,
  { schedule, mode, nowMs }: Pick<RotateOptions, 'schedule' | 'mode' | 'nowMs'>,
): KeySet | undefined {
  if (before === undefined || 'outlived' in before)
    return freshSet(schedule, nowMs, before && { createdMs: before.createdMs, keys: [] })
  if (mode === 'replace') return freshSet(schedule, nowMs, before)
  if (mode === 'now') return hastenedSet(before, schedule, nowMs)
  return isDue(before, nowMs) ? rotatedSet(before, schedule, nowMs) : undefined
}

/** A set of which nothing is to be kept, so that nobody has to be able to open it. */
export interface Outlived {
  readonly outlived: true
  readonly createdMs: number
}

async function openFor(options: {
  text: string
  key: WrappingKey
  mode: RotateMode
  nowMs: number
}): Promise<KeySet | Outlived> {
  const { text, key, mode, nowMs } = options
  if (mode === 'replace') return { outlived: true, createdMs: createdOf(text) }
  const sealed = parseSealed(text)
  if (sealed.key === key.uri && sealed.keys.every(({ untilMs }) => untilMs <= nowMs))
    return { outlived: true, createdMs: sealed.createdMs }
  checkSealed(sealed, key.uri, nowMs)
  return unseal(sealed, key)
}

/** Of whatever lies there, it may be garbage. */
function createdOf(text: string): number {
  try {
    return parseSealed(text).createdMs
  } catch {
    return 0
  }
}

const MAX_ATTEMPTS = 5
