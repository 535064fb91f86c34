/**
 * From one state of the configuration to the next: new members and keys beside the old ones, proved before anybody is
 * signed for with them.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { type ErrorCode, HsmError } from '../errors.ts'
import type { SigningKey } from '../signing.ts'
import type { AbilityGap } from './ability-gaps.ts'
import type { Generation, PlacedKey } from './generation.ts'
import type { Member } from './member.ts'
import { type KeyOutlook, needsPerson } from './outlook.ts'
import type { KeyStatus } from './status.ts'

/** A key of the pool, as everybody outside sees it. */
export type ServiceKey = SigningKey & {
  readonly ready: boolean
  outlook(): KeyOutlook
  gaps(): readonly AbilityGap[]
  status(): KeyStatus
}

export interface SigningChangeParts {
  /** Becomes what the service signs with; what is left over ends after so long. */
  readonly commit: (next: Generation, lingerMs: number) => void
  /** Ends what only this one has. */
  readonly end: (next: Generation) => Promise<void>
}

export interface UnprovedKey {
  /** Where it stands in the keys of the new state; more than one certificate may have it. */
  readonly places: readonly number[]
  readonly error: HsmError
}

/** Keys that nobody has signed with in time. */
export class UnprovedKeys extends HsmError {
  readonly keys: readonly UnprovedKey[]

  constructor(keys: readonly UnprovedKey[]) {
    const errors = keys.map(({ error }) => error)
    const [first] = errors
    const code = errors.length === 1 && first !== undefined ? first.code : 'ERR_HSM_ALL_FAILED'
    super(isHsmCode(code) ? code : 'ERR_HSM_ALL_FAILED', errors.map(({ message }) => message).join('\n'), {
      errors,
    })
    this.keys = keys
  }
}

/** To be ended by `commit` or `abandon`, once. */
export class SigningChange {
  readonly #next: Generation
  readonly #fresh: readonly Member[]
  /** Whose place in the HSM's name it takes, if anybody's. */
  readonly #predecessors: ReadonlyMap<Member, Member | undefined>
  readonly #required: readonly PlacedKey[]
  readonly #parts: SigningChangeParts
  #looked: (() => void) | undefined
  #state: 'open' | 'committed' | 'abandoned' = 'open'

  constructor(before: Generation, next: Generation, parts: SigningChangeParts) {
    this.#next = next
    this.#parts = parts
    const old = new Set(before.members)
    this.#fresh = next.members.filter((member) => !old.has(member))
    this.#predecessors = new Map(
      [...next.seats].map(([name, { member }]) => [member, before.seats.get(name)?.member]),
    )
    this.#required = next.keys.filter((placed) => isRequired(placed, before))
  }

  /** Names of the HSMs that get a new host process. */
  get restarted(): readonly string[] {
    return this.#fresh.map(({ name }) => name)
  }

  /** @param index as in the keys of the new state. */
  key(index: number): ServiceKey {
    const placed = this.#next.keys[index]
    if (placed === undefined) throw new RangeError(`there is no key ${index}`)
    return placed.key
  }

  /**
   * Starts the new hosts and waits for their test signatures: of every key that is new, and of every key that can be signed
   * with now. One member is enough for each; one that is away may come later. But no host that is well is given up for one
   * of which it is known that only a person can help it.
   *
   * @throws {UnprovedKeys} when a key is not signed with by any member, as soon as all have had their first try, or after
   *   `limitMs`; {HsmError} what keeps a new host from its first signature for good, such as a refused PIN, while that of
   *   before is up; `ERR_HSM_CLOSED` when the change was abandoned meanwhile.
   */
  async prove(limitMs: number): Promise<void> {
    const firstTries = new Map(this.#fresh.map((member) => [member, member.start()]))
    await this.#proveKeys(Promise.all(firstTries.values()), limitMs)
    const successors = this.#fresh.filter((member) => this.#predecessors.get(member)?.isUp === true)
    await atMost(
      Math.min(limitMs, SUCCESSORS_MS),
      Promise.all(successors.map((member) => firstTries.get(member))),
    )
    if (this.#state !== 'open') throw new HsmError('ERR_HSM_CLOSED', 'the change of keys was given up')
    for (const { isUp, lastError } of successors)
      if (!isUp && lastError && needsPerson(lastError)) throw lastError
  }

  async #proveKeys(tries: Promise<unknown>, limitMs: number): Promise<void> {
    const ready = new Promise<void>((resolve) => {
      this.#looked = () => {
        if (this.#state !== 'open' || this.#unproved().length === 0) resolve()
      }
      this.#looked()
    })
    await atMost(limitMs, Promise.race([tries, ready]))
    this.#looked = undefined
    if (this.#state !== 'open') throw new HsmError('ERR_HSM_CLOSED', 'the change of keys was given up')
    const unproved = this.#unproved()
    if (unproved.length > 0)
      throw new UnprovedKeys(unproved.map((placed) => this.#problemOf(placed, limitMs)))
  }

  /** From now on these keys sign. @param lingerMs how long those of before may still be asked. */
  commit(lingerMs: number): void {
    if (this.#state !== 'open') throw new HsmError('ERR_HSM_CLOSED', 'the change of keys was given up')
    this.#state = 'committed'
    this.#parts.commit(this.#next, lingerMs)
  }

  /** Ends what was new. Idempotent. */
  async abandon(): Promise<void> {
    if (this.#state !== 'open') return
    this.#state = 'abandoned'
    this.#looked?.()
    await this.#parts.end(this.#next)
  }

  /** @internal A member's health has changed. */
  look(): void {
    this.#looked?.()
  }

  #problemOf({ key, identity }: PlacedKey, limitMs: number): UnprovedKey {
    const places = this.#next.keys.flatMap((placed, index) => (placed.key === key ? [index] : []))
    return { places, error: unprovedError(key, identity, limitMs) }
  }

  #unproved(): PlacedKey[] {
    return [...new Set(this.#required)].filter(({ key }) => !key.ready)
  }
}

/** A key that is as before is as good as before. One that nobody signs with now need not be better afterwards. */
function isRequired({ key, identity }: PlacedKey, before: Generation): boolean {
  if (before.keys.some((old) => old.key === key)) return false
  const same = before.keys.filter((old) => Buffer.compare(old.key.spki, key.spki) === 0)
  const known = same.some((old) => old.identity === identity)
  return !known || same.some((old) => old.key.ready)
}

function unprovedError(key: ServiceKey, identity: string, limitMs: number): HsmError {
  const { problems } = key.outlook()
  const [first, ...more] = problems
  if (first !== undefined && more.length === 0) return first
  const uri: unknown = JSON.parse(identity)[0]
  const why = problems.map(({ message }) => message).join('; ') || `no test signature within ${limitMs} ms`
  return new HsmError('ERR_HSM_ALL_FAILED', `no HSM signs with ${uri}: ${why}`, { errors: problems })
}

function isHsmCode(code: ErrorCode): code is Extract<ErrorCode, `ERR_HSM_${string}`> {
  return code.startsWith('ERR_HSM_')
}

async function atMost(ms: number, done: Promise<unknown>): Promise<void> {
  const late = new AbortController()
  await Promise.race([done, delay(ms, undefined, late).catch(() => {})])
  late.abort()
}

// A PIN is refused, and a key or a module missed, at the start of a host; who takes longer is away, or slow.
const SUCCESSORS_MS = 5_000
