/**
 * The signing side of Sealgate: keys to sign with, and the HSMs behind them.
 *
 * One host process and one member per HSM, whatever number of keys it holds; one pooled key per certificate.
 */

import { HsmError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { type CertificateKey, Generation, type SigningState } from './generation.ts'
import { defaultHostEntry } from './host-process.ts'
import { KeyMetrics } from './key-metrics.ts'
import type { KeyUse } from './key-use.ts'
import { Member } from './member.ts'
import type { WantedKey } from './member-keys.ts'
import { MemberMetrics } from './member-metrics.ts'
import type { HsmOptions, KeyOptions } from './options.ts'
import type { KeyOutlook } from './outlook.ts'
import { type Holder, PooledKey } from './pooled-key.ts'
import { RefusedPins } from './refused-pins.ts'
import { type ServiceKey, SigningChange, UnprovedKeys } from './signing-change.ts'
import type { HsmStatus, KeyStatus } from './status.ts'
import { WrappingKey } from './wrapping-key.ts'

export type { CertificateKey, HsmStatus, KeyOutlook, KeyStatus, ServiceKey, SigningChange, SigningState }
export { UnprovedKeys }

export interface SigningServiceOptions extends SigningState {
  readonly log: Log
  readonly metrics: Metrics
  /** Told of every use of a key and every login, when it has ended; must not throw. */
  readonly onUse?: (use: KeyUse) => void
  /** Which keys are ready, or with which schemes, may have changed. Called in the middle of it: look later. */
  readonly onHealth?: () => void
  /** Program of the host processes; the built one unless a test has its own. */
  readonly hostEntry?: string
}

export class SigningService {
  readonly #options: SigningServiceOptions
  /** What is signed with. */
  #generation: Generation
  /** Everything that has not ended: also what is being proved, and what an earlier configuration has left. */
  readonly #members = new Set<Member>()
  readonly #keys = new Set<PooledKey>()
  readonly #memberMetrics = new WeakMap<Member, MemberMetrics>()
  readonly #keyMetrics = new WeakMap<PooledKey, KeyMetrics>()
  readonly #refusedPins = new RefusedPins()
  readonly #lingering = new Set<NodeJS.Timeout>()
  #change: SigningChange | undefined
  #ticker: NodeJS.Timeout | undefined
  #state: 'new' | 'started' | 'closed' = 'new'
  #closing: Promise<void> | undefined

  constructor(options: SigningServiceOptions) {
    this.#options = options
    this.#generation = this.#generate(options)
    this.#show()
  }

  /**
   * Starts the host processes.
   *
   * @returns what is wrong, by HSM and by key of an HSM; empty when every member signs with every key. Never throws for
   *   an HSM's sake: members that failed go on trying, unless trying could lock a token. Resolves when every
   *   member has made its test signatures or failed its first try.
   */
  async start(): Promise<readonly HsmError[]> {
    if (this.#state !== 'new') throw new HsmError('ERR_HSM_CLOSED', 'a signing service starts once')
    this.#state = 'started'
    await Promise.all([...this.#members].map((member) => member.start()))
    return this.problems()
  }

  /** What is wrong now, by HSM and by key of an HSM. */
  problems(): readonly HsmError[] {
    return this.#generation.members.flatMap((member) => member.problems())
  }

  /** @param index as in the keys of the state. The same object until a change is committed; then it lingers. */
  key(index: number): ServiceKey {
    const placed = this.#generation.keys[index]
    if (placed === undefined) throw new RangeError(`there is no key ${index}`)
    return placed.key
  }

  /**
   * An AES key that wraps ticket keys; valid over all changes of state, for the HSMs that have these names then.
   *
   * @param sparing handshakes wait for the same HSMs.
   */
  wrappingKey({ uri, hsms }: KeyOptions, { sparing = false } = {}): WrappingKey {
    const { timeoutMs } = this.#generation.signing
    const member = (name: string): Member | undefined => this.#generation.seats.get(name)?.member
    return new WrappingKey({ uri, hsms, timeoutMs, member, sparing })
  }

  status(): HsmStatus[] {
    return this.#generation.members.map((member) => member.status())
  }

  /** Host processes of earlier states, which end when nobody can ask them any more. */
  get lingering(): number {
    return this.#members.size - this.#generation.members.length
  }

  /**
   * Prepares another state: members and keys that are as before go on, new ones are made beside the old. Nothing is
   * signed with them until the change is committed. One change at a time.
   *
   * @throws {HsmError} `ERR_HSM_PIN` when a new host would try a PIN that was refused.
   */
  change(state: SigningState): SigningChange {
    if (this.#state !== 'started' || this.#change !== undefined)
      throw new HsmError(
        'ERR_HSM_CLOSED',
        'a change of keys needs a signing service that runs, and no other change',
      )
    const next = this.#generate(state, this.#generation)
    const change = new SigningChange(this.#generation, next, {
      commit: (generation, lingerMs) => this.#commit(generation, lingerMs),
      end: (generation) => {
        this.#change = undefined
        const { members, pooled } = this.#generation
        return this.#end({
          members: without(generation.members, members),
          keys: without(generation.pooled, pooled),
        })
      },
    })
    this.#change = change
    return change
  }

  /** Fails what waits with `ERR_HSM_CLOSED` and ends the hosts, by force after two seconds. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    this.#state = 'closed'
    clearTimeout(this.#ticker)
    for (const timer of this.#lingering) clearTimeout(timer)
    await this.#change?.abandon()
    for (const key of this.#keys) key.close()
    await Promise.all([...this.#members].map((member) => member.close()))
  }

  #commit(next: Generation, lingerMs: number): void {
    const before = this.#generation
    this.#change = undefined
    this.#generation = next
    const left = { members: without(before.members, next.members), keys: without(before.pooled, next.pooled) }
    this.#show(left)
    if (left.members.length + left.keys.length === 0) return
    const timer = setTimeout(() => {
      this.#lingering.delete(timer)
      void this.#end(left)
    }, lingerMs)
    this.#lingering.add(timer)
  }

  async #end({ members, keys }: { members: readonly Member[]; keys: readonly PooledKey[] }): Promise<void> {
    for (const key of keys) {
      key.close()
      this.#keys.delete(key)
    }
    await Promise.all(members.map((member) => member.close()))
    for (const member of members) this.#members.delete(member)
  }

  /** The gauges are those of the present state; more than one member may have had its name until now. */
  #show(left: { members: readonly Member[]; keys: readonly PooledKey[] } = { members: [], keys: [] }): void {
    for (const member of left.members) this.#memberMetrics.get(member)?.hide()
    for (const key of left.keys) this.#keyMetrics.get(key)?.hide()
    for (const member of this.#generation.members) this.#memberMetrics.get(member)?.show()
    for (const key of this.#generation.pooled) this.#keyMetrics.get(key)?.show()
  }

  #generate(state: SigningState, before?: Generation): Generation {
    const known: ReadonlySet<unknown> = new Set([...this.#members, ...this.#keys])
    try {
      return new Generation(
        state,
        {
          member: (hsm, keys) => this.#createMember(hsm, keys),
          key: (wanted, holders) => this.#createKey(wanted, holders, state.signing),
          // What was not on the token when it was opened may be there now.
          spent: ({ member, hsm }) =>
            (member.final || member.keys.unusable().length > 0) && !this.#refusedPins.has(hsm),
        },
        before,
      )
    } catch (error) {
      // What was made for it has not been started.
      for (const member of this.#members) if (!known.has(member)) this.#members.delete(member)
      for (const key of this.#keys) if (!known.has(key)) this.#keys.delete(key)
      throw error
    }
  }

  #createKey(
    { key, spki, purpose = 'tls' }: CertificateKey,
    holders: readonly Holder[],
    signing: SigningState['signing'],
  ): PooledKey {
    const metrics = new KeyMetrics(this.#options.metrics, key.uri)
    const pooled = new PooledKey({
      key,
      spki,
      purpose,
      onUse: this.#options.onUse ?? (() => {}),
      holders,
      signing,
      metrics,
      log: this.#options.log,
      onWork: () => this.#tickSoon(),
    })
    this.#keyMetrics.set(pooled, metrics)
    this.#keys.add(pooled)
    return pooled
  }

  #createMember(hsm: HsmOptions, keys: readonly WantedKey[]): Member {
    const options = this.#options
    this.#refusedPins.check(hsm)
    const metrics = new MemberMetrics(options.metrics, hsm.name)
    const hangMs = () => this.#generation.signing.timeoutMs
    const member = new Member({
      hsm,
      keys,
      entry: options.hostEntry ?? defaultHostEntry(),
      // Of the present state: a member may outlive the one it was made for.
      get hangMs() {
        return hangMs()
      },
      log: options.log,
      metrics,
      refusedPin: () => this.#refusedPins.error(hsm),
      onUse: (use) => {
        if (use.kind === 'login') {
          metrics.loggedIn(use.result)
          if (use.result === 'ERR_HSM_PIN') this.#refusedPins.refused(hsm)
        } else if (use.kind === 'signature' && use.reason === 'test') metrics.tested(use.result)
        options.onUse?.(use)
      },
      onChange: (changed) => this.#memberChanged(changed),
      onHealth: () => {
        for (const key of this.#keys) key.healthChanged()
        this.#change?.look()
        options.onHealth?.()
      },
    })
    this.#memberMetrics.set(member, metrics)
    this.#members.add(member)
    return member
  }

  #memberChanged(member: Member): void {
    for (const key of this.#keys) key.membersChanged()
    if (member.inFlight > 0) this.#tickSoon()
  }

  /** One timer for all deadlines; it runs only while there is something to watch. */
  #tickSoon(): void {
    if (this.#ticker !== undefined || this.#state === 'closed') return
    this.#ticker = setTimeout(() => {
      this.#ticker = undefined
      const nowMs = performance.now()
      let busy = false
      for (const key of this.#keys) busy = key.tick(nowMs) || busy
      for (const member of this.#members) {
        member.tick(nowMs)
        busy = member.inFlight > 0 || busy
      }
      if (busy) this.#tickSoon()
    }, TICK_MS)
  }
}

// Deadlines are seconds and hedges 10 ms at least: this is fine enough for both.
const TICK_MS = 5

function without<T>(all: readonly T[], others: readonly T[]): readonly T[] {
  return all.filter((each) => !others.includes(each))
}
