/**
 * One node's part in sharing: takes up the fleet's ticket keys, changes them at their dates, rotates them where it may, and
 * says when it cannot. Without shared keys the node's own hold, in tls/.
 *
 * One look at the place at a time. A set that was opened is kept in memory until its dates are over, whatever becomes of the
 * place or the HSM; an HSM is asked only for a set that is new.
 */

import { HsmError, SealgateError, TicketsError } from '../errors.ts'
import { BackOff } from '../hsm/back-off.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { firstKey, forget, isDue, type KeySet, nextChangeMs } from './key-set.ts'
import { nextSet } from './rotate.ts'
import type { Schedule } from './schedule.ts'
import { checkSealed, parseSealed, seal, unseal } from './sealed-set.ts'
import { type SharedTicketStatus, setStatus } from './status.ts'
import type { Store } from './store.ts'
import { TicketMetrics } from './ticket-metrics.ts'
import type { WrappingKey } from './wrapping-key.ts'

/** Views of keys that are zeroed later; the receiver gets the next ones before. */
export interface SharedKeys {
  /** Makes tickets; undefined: the node's own does. */
  readonly first: Uint8Array | undefined
  /** These open tickets as well. */
  readonly others: readonly Uint8Array[]
}

export interface SharedTicketKeysOptions {
  readonly store: Store
  readonly key: WrappingKey
  readonly schedule: Schedule
  readonly log: Log
  readonly metrics: Metrics
  /** Called at the start and after every change. */
  readonly apply: (keys: SharedKeys) => void
  /** Unix time in ms. */
  readonly now?: () => number
}

export class SharedTicketKeys {
  readonly #options: SharedTicketKeysOptions
  readonly #metrics: TicketMetrics
  readonly #now: () => number
  #held: { readonly set: KeySet; readonly text: string } | undefined
  /** What the HSM would not open, and when it is asked again. */
  #shut: { readonly text: string; readonly error: SealgateError; readonly againMs: number } | undefined
  /** This node's turn to rotate: not the same moment for all. */
  #rotateMs: number | undefined
  /** Why there is no new set, and when another one is tried. */
  #unmade: { readonly error: unknown; readonly againMs: number } | undefined
  readonly #backOff: BackOff
  #trouble: { readonly error: SealgateError; readonly sinceMs: number } | undefined
  #rotates: 'here' | 'elsewhere' | 'unknown' = 'unknown'
  #lookedMs: number | undefined
  #looking: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  /** Said of the state last. */
  #said = ''
  #closed = false

  constructor(options: SharedTicketKeysOptions) {
    this.#options = options
    this.#metrics = new TicketMetrics(options.metrics)
    this.#now = options.now ?? Date.now
    const { pollMs, rotateMs } = options.schedule
    this.#backOff = new BackOff({ firstMs: 2 * pollMs, capMs: Math.min(MAX_RETRY_MS, rotateMs / 2) })
    this.#apply()
  }

  /** Looks at the place now, and from then on again and again. Joins a look that is under way; never rejects. */
  look(): Promise<void> {
    if (this.#closed) return Promise.resolve()
    this.#looking ??= this.#lookAndPlan().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  /** An HSM may be up that was not: what failed for want of one is tried now. */
  hsmChanged(): Promise<void> {
    this.#unmade = undefined
    return this.look()
  }

  status(): SharedTicketStatus {
    const nowMs = this.#now()
    const trouble = this.#trouble
    return {
      place: this.#options.store.name,
      key: this.#options.key.uri,
      inUse: this.#first(nowMs) === undefined ? 'local' : 'shared',
      rotates: this.#rotates,
      lookedAt: this.#lookedMs === undefined ? undefined : new Date(this.#lookedMs).toISOString(),
      problem: trouble && {
        code: trouble.error.code,
        message: trouble.error.message,
        since: new Date(trouble.sinceMs).toISOString(),
      },
      ...(this.#held === undefined ? {} : setStatus(this.#held.set, nowMs)),
    }
  }

  /** Zeroes the keys. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#timer)
    // First of all: keys of zeroes must never make a ticket.
    this.#options.apply({ first: undefined, others: [] })
    if (this.#held !== undefined) forget(this.#held.set)
    this.#held = undefined
    await this.#options.store.close()
    await this.#looking
  }

  async #lookAndPlan(): Promise<void> {
    clearTimeout(this.#timer)
    try {
      await this.#lookOnce()
      this.#lookedMs = this.#now()
      this.#trouble = undefined
    } catch (error) {
      this.#failed(error)
    }
    if (this.#closed) return
    this.#apply()
    this.#say()
    this.#timer = setTimeout(() => void this.look(), this.#pauseMs())
    this.#timer.unref()
  }

  async #lookOnce(): Promise<void> {
    const { store } = this.#options
    const text = await store.read()
    this.#rotates = (await store.isWritable()) ? 'here' : 'elsewhere'
    if (this.#closed) return
    if (text === undefined) return this.#begin()
    if (text !== this.#held?.text) await this.#take(text)
    await this.#rotateIfDue(text)
  }

  /** Nobody has shared anything yet, or the place has lost it. */
  async #begin(): Promise<void> {
    const { store } = this.#options
    if (this.#rotates === 'elsewhere')
      throw new TicketsError(
        'ERR_TICKETS_ABSENT',
        `there are no shared ticket keys in ${store.name}, and this node may not write them`,
      )
    const held = this.#held
    if (held === undefined || firstKey(held.set, this.#now()) === undefined) await this.#replace(undefined)
    // Redis has started empty: what is in use everywhere goes back, and no session is lost.
    else if (!(await store.replace(undefined, held.text))) await this.#takeTheirs(undefined)
  }

  async #take(text: string): Promise<void> {
    const { key } = this.#options
    const sealed = parseSealed(text)
    const nowMs = this.#now()
    const outlived = sealed.key === key.uri && sealed.keys.every(({ untilMs }) => untilMs <= nowMs)
    if (outlived && this.#rotates === 'here') return this.#replace(text)
    checkSealed(sealed, key.uri, nowMs)
    const held = this.#held?.set
    if (held !== undefined && sealed.createdMs < held.createdMs && firstKey(held, nowMs) !== undefined)
      throw new TicketsError(
        'ERR_TICKETS_OLDER',
        `the shared ticket keys are of ${new Date(sealed.createdMs).toISOString()}, and newer ones are in use here`,
      )
    if (this.#shut?.text === text && nowMs < this.#shut.againMs) throw this.#shut.error
    try {
      this.#adopt(await unseal(sealed, key), text)
    } catch (error) {
      const final = error instanceof SealgateError && NOT_SOON.has(error.code)
      this.#shut = final ? { text, error, againMs: nowMs + SHUT_PAUSE_MS } : undefined
      throw error
    }
  }

  async #rotateIfDue(text: string): Promise<void> {
    const held = this.#held
    const nowMs = this.#now()
    if (held === undefined || held.text !== text || !isDue(held.set, nowMs)) {
      this.#rotateMs = undefined
      return
    }
    if (this.#rotates !== 'here') return
    // All nodes find it due at the same moment; most of them then find it done.
    this.#rotateMs ??= nowMs + Math.random() * Math.min(this.#options.schedule.rotateMs / 60, MAX_JITTER_MS)
    if (nowMs >= this.#rotateMs) await this.#replace(text)
  }

  async #replace(before: string | undefined): Promise<void> {
    const { store, schedule } = this.#options
    const nowMs = this.#now()
    if (this.#unmade !== undefined && nowMs < this.#unmade.againMs) throw this.#unmade.error
    const kept = before !== undefined && this.#held?.text === before ? this.#held.set : undefined
    const outlived =
      before === undefined ? undefined : { outlived: true as const, createdMs: createdOf(before) }
    const set = nextSet(kept ?? outlived, { schedule, mode: 'due', nowMs })
    if (set === undefined) return
    let adopted = false
    try {
      const { text, replaced } = await this.#put(before, set)
      if (this.#closed) return
      if (replaced) {
        adopted = true
        this.#adopt(set, text)
        this.#metrics.rotated()
        this.#options.log.info({ place: store.name }, 'shared ticket keys rotated')
      } else {
        await this.#takeTheirs(before)
      }
    } finally {
      if (!adopted) forget(set, this.#held?.set)
    }
  }

  async #put(before: string | undefined, set: KeySet): Promise<{ text: string; replaced: boolean }> {
    const { store, key } = this.#options
    try {
      const text = await seal(set, key)
      return { text, replaced: !this.#closed && (await store.replace(before, text)) }
    } catch (error) {
      this.#unmade = { error, againMs: this.#now() + this.#backOff.next() }
      throw error
    }
  }

  /** Another node was first: its set holds for all. If there is none yet, the next look finds it. */
  async #takeTheirs(before: string | undefined): Promise<void> {
    const theirs = await this.#options.store.read()
    if (theirs !== undefined && theirs !== before && theirs !== this.#held?.text) await this.#take(theirs)
  }

  #adopt(set: KeySet, text: string): void {
    const old = this.#held?.set
    if (this.#closed) {
      forget(set)
      return
    }
    this.#held = { set, text }
    this.#shut = undefined
    this.#rotateMs = undefined
    this.#unmade = undefined
    this.#backOff.reset()
    this.#apply()
    // Not before: they were in use until now.
    if (old !== undefined) forget(old, set)
  }

  /** Makes the keys that hold now those of the TLS threads. */
  #apply(): void {
    const nowMs = this.#now()
    const first = this.#first(nowMs)
    const valid = this.#held?.set.keys.filter(({ untilMs }) => nowMs < untilMs) ?? []
    const others = valid.filter((key) => key !== first).map(({ secret }) => secret)
    this.#options.apply({ first: first?.secret, others })
    this.#metrics.show(this.#held?.set, first, valid.length, nowMs)
  }

  #first(nowMs: number) {
    const set = this.#held?.set
    const first = set && firstKey(set, nowMs)
    return set?.keys.find((key) => key === first)
  }

  #pauseMs(): number {
    const { pollMs } = this.#options.schedule
    const nowMs = this.#now()
    const changeMs = this.#held === undefined ? Infinity : nextChangeMs(this.#held.set, nowMs) - nowMs
    // One that is over has been tried, or the look did not come so far: neither is a reason to hurry.
    const rotateMs =
      this.#rotateMs === undefined || this.#rotateMs <= nowMs ? Infinity : this.#rotateMs - nowMs
    // Half to all of it, so that nodes do not come in step.
    const poll = pollMs * (0.5 + Math.random() / 2)
    return Math.max(MIN_PAUSE_MS, Math.min(poll, changeMs, rotateMs))
  }

  #failed(error: unknown): void {
    if (this.#closed) return
    const known = error instanceof SealgateError ? error : new HsmError('ERR_HSM_FAILED', String(error))
    this.#metrics.failed(known.code)
    const before = this.#trouble
    const sinceMs = before?.error.code === known.code ? before.sinceMs : this.#now()
    this.#trouble = { error: known, sinceMs }
  }

  /** Once for every state, not for every look. */
  #say(): void {
    const { log, store, schedule } = this.#options
    const nowMs = this.#now()
    const using = this.#first(nowMs) === undefined ? 'local' : 'shared'
    const newest = this.#held?.set.keys[0]
    const stale = using === 'shared' && newest !== undefined && nowMs > newest.fromMs + schedule.rotateMs
    const state = `${using} ${this.#trouble?.error.code} ${stale}`
    if (state === this.#said) return
    this.#said = state
    const facts = { place: store.name, using, ...this.#reason() }
    if (using === 'local') log.warn(facts, 'ticket keys are local: sessions do not resume at other nodes')
    else if (stale)
      log.warn(
        facts,
        'shared ticket keys are stale: nobody rotates them, and they go on to be used until they expire',
      )
    else if (this.#trouble !== undefined)
      log.warn(facts, 'shared ticket keys cannot be renewed; those from before are used')
    else log.info(facts, 'shared ticket keys are in use')
  }

  #reason(): { code?: string; reason?: string } {
    const error = this.#trouble?.error
    return error === undefined ? {} : { code: error.code, reason: error.message }
  }
}

function createdOf(text: string): number {
  return parseSealed(text).createdMs
}

/** What the next second does not change; another set does. */
const NOT_SOON: ReadonlySet<string> = new Set([
  'ERR_HSM_UNWRAP',
  'ERR_HSM_REFUSED',
  'ERR_HSM_MECHANISM',
  'ERR_HSM_KEY_EXTRACTABLE',
])
const SHUT_PAUSE_MS = 60_000
const MAX_RETRY_MS = 2 * 60_000
const MAX_JITTER_MS = 30_000
const MIN_PAUSE_MS = 20
