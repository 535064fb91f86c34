/**
 * A set of ticket keys with the dates at which they take turns, the same on every node.
 *
 * At any time the newest key whose turn has come makes tickets, and all others open them: the two before it, and the next
 * one, which other nodes' clocks may already have reached.
 */

import { randomFillSync } from 'node:crypto'
import { CLOCK_SKEW_MS, LIFE_INTERVALS, type Schedule } from './schedule.ts'

export interface TicketKey {
  /** 80 bytes: name 16, HMAC-SHA256 key 32, AES-256 key 32. Whoever drops the last set that has it zeroes it. */
  readonly secret: Buffer
  /** Unix time in ms: makes tickets from here on, until the next key's turn. */
  readonly fromMs: number
  /** Opens no tickets any more. */
  readonly untilMs: number
}

export interface KeySet {
  /** Grows with every set of a place, whatever the clocks of the nodes say. */
  readonly createdMs: number
  /** Newest first. */
  readonly keys: readonly TicketKey[]
}

/** The first 16 bytes, as every ticket shows them. */
export function keyName(key: TicketKey): string {
  return key.secret.toString('hex', 0, NAME_BYTES)
}

/** The key that makes tickets; undefined: all have expired, or none is valid yet. */
export function firstKey({ keys }: Dated, nowMs: number): Dates | undefined {
  const valid = keys.filter(({ untilMs }) => nowMs < untilMs)
  const oldest = valid.at(-1)
  return (
    valid.find(({ fromMs }) => fromMs <= nowMs) ??
    // Made by a node whose clock is ahead of ours.
    (oldest !== undefined && oldest.fromMs - nowMs <= CLOCK_SKEW_MS ? oldest : undefined)
  )
}

/** When the first key or what is accepted changes next; Infinity: never. */
export function nextChangeMs({ keys }: Dated, nowMs: number): number {
  const dates = keys.flatMap(({ fromMs, untilMs }) => [fromMs, untilMs]).filter((ms) => ms > nowMs)
  return Math.min(...dates)
}

/** Nobody is next any more: it is time to make somebody. */
export function isDue({ keys }: Dated, nowMs: number): boolean {
  return !keys.some(({ fromMs }) => fromMs > nowMs)
}

/** A set of its own, with nothing of any other. */
export function freshSet(schedule: Schedule, nowMs: number, before?: Dated): KeySet {
  const first = newKey(nowMs, schedule)
  const keys = [newKey(nowMs + schedule.rotateMs, schedule), first]
  return { createdMs: laterThan(before, nowMs), keys }
}

/** The set with one more key, whose turn comes when everybody has had time to learn of it. */
export function rotatedSet(set: KeySet, schedule: Schedule, nowMs: number): KeySet {
  const valid = set.keys.filter(({ untilMs }) => nowMs < untilMs).slice(0, LIFE_INTERVALS)
  const [newest, ...older] = valid
  if (newest === undefined) return freshSet(schedule, nowMs, set)
  const next = newKey(Math.max(newest.fromMs + schedule.rotateMs, nowMs + schedule.leadMs), schedule)
  // Late: it has to last until the next one's turn, and its tickets for as long after as ever.
  const untilMs = Math.max(newest.untilMs, next.fromMs + (LIFE_INTERVALS - 1) * schedule.rotateMs)
  return { createdMs: laterThan(set, nowMs), keys: [next, { ...newest, untilMs }, ...older] }
}

/** The next key's turn comes as soon as everybody knows it. */
export function hastenedSet(set: KeySet, schedule: Schedule, nowMs: number): KeySet {
  // Nobody is next: one that nobody knows yet, so not at once.
  const known = isDue(set, nowMs) ? rotatedSet(set, schedule, nowMs) : set
  const [next, ...older] = known.keys
  if (next === undefined) return known
  const fromMs = Math.min(next.fromMs, Math.max(nowMs, known.createdMs + schedule.leadMs))
  const hastened = { createdMs: laterThan(known, nowMs), keys: [{ ...next, fromMs }, ...older] }
  return fromMs > nowMs ? hastened : rotatedSet(hastened, schedule, nowMs)
}

/** Zeroes the keys of a set that another one has not. */
export function forget(set: KeySet, kept?: KeySet): void {
  const secrets = new Set(kept?.keys.map(({ secret }) => secret))
  for (const { secret } of set.keys) if (!secrets.has(secret)) secret.fill(0)
}

/** The dates alone are no secret. */
export interface Dates {
  readonly fromMs: number
  readonly untilMs: number
}
interface Dated {
  readonly createdMs: number
  readonly keys: readonly Dates[]
}

function newKey(fromMs: number, { rotateMs }: Schedule): TicketKey {
  // Not from the pool that small buffers share: this one is zeroed one day.
  const secret = randomFillSync(Buffer.allocUnsafeSlow(KEY_BYTES))
  return { secret, fromMs, untilMs: fromMs + LIFE_INTERVALS * rotateMs }
}

function laterThan(before: Dated | undefined, nowMs: number): number {
  return Math.max(nowMs, (before?.createdMs ?? 0) + 1)
}

export const KEY_BYTES = 80
const NAME_BYTES = 16
