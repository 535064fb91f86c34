/**
 * A certificate's key, held by one or more members: who signs, who signs instead, and when it is too late.
 *
 * Rules 2, 3, 4 and 6 of the pool (README.md) are here. No signature sets a timer: deadlines, hedges and pauses are
 * looked at by `tick`, so they come up to one tick late. Long because all ways of a signature stand beside each other.
 */

import type { KeyObject } from 'node:crypto'

import type { HsmError } from '../errors.ts'
import type { Log } from '../log.ts'
import { type SignatureScheme, type SigningKey, type SignRequest, schemes } from '../signing.ts'
import { type AbilityGap, abilityGaps } from './ability-gaps.ts'
import type { KeyMetrics } from './key-metrics.ts'
import type { KeyPurpose, KeyUse, SignatureUse } from './key-use.ts'
import { keySchemes, tls12Schemes } from './mechanism.ts'
import type { Member } from './member.ts'
import type { KeyOptions, SigningOptions } from './options.ts'
import { type KeyOutlook, keyOutlook } from './outlook.ts'
import {
  abandonedError,
  allFailedError,
  badSignatureError,
  closedError,
  exhaustedError,
  outageError,
  timeoutError,
} from './pool-errors.ts'
import { keyFacts } from './public-key.ts'
import { type Attempt, SignJob } from './sign-job.ts'
import type { KeyStatus } from './status.ts'
import { isSignature } from './verify-signature.ts'

/** A member, and the number this key has there. */
export interface Holder {
  readonly member: Member
  readonly key: number
}

export class PooledKey implements SigningKey {
  readonly spki: Uint8Array
  readonly #uri: string
  readonly #publicKey: KeyObject
  readonly #possibleSchemes: readonly SignatureScheme[]
  /** Code points of what the key signs with in TLS 1.2 besides. */
  readonly #tls12Schemes: ReadonlySet<number>
  readonly #holders: readonly Holder[]
  readonly #signing: SigningOptions
  readonly #verify: boolean
  readonly #hedge: boolean
  readonly #onWork: () => void
  readonly #onUse: (use: KeyUse) => void
  readonly #reason: 'handshake' | 'checkpoint'
  readonly #metrics: KeyMetrics
  readonly #log: Log
  readonly #gapsTold = new Set<string>()
  /** Everything somebody waits for. */
  readonly #open = new Set<SignJob>()
  /** Of those, in order, what waits for a member with a free session: */
  readonly #queue = new Set<SignJob>()
  /** … what has been tried already, or waits for a member that answers nobody, and goes first; */
  readonly #retries = new Set<SignJob>()
  /** … and what all members have failed, and waits a little before the next round. */
  readonly #paused = new Set<SignJob>()
  #turn = 0
  #turnTaken = false
  /** The turn in which a member was last sent something. */
  readonly #lastTurns = new Map<Member, number>()
  #closed = false
  /** Nobody signs with it since then. */
  #outage: { readonly sinceMs: number; readonly since: Date } | undefined
  /** Made once a second, not for each of the thousands that are refused. */
  #outageError: { readonly error: HsmError; readonly untilMs: number } | undefined

  /** @param options.onWork called when there is something to `tick` for. */
  constructor(options: {
    key: KeyOptions
    spki: Uint8Array
    purpose: KeyPurpose
    onUse: (use: KeyUse) => void
    holders: readonly Holder[]
    signing: SigningOptions
    metrics: KeyMetrics
    log: Log
    onWork: () => void
  }) {
    const facts = keyFacts(options.spki)
    this.spki = options.spki
    this.#uri = options.key.uri
    this.#publicKey = facts.publicKey
    this.#possibleSchemes = keySchemes(facts)
    this.#tls12Schemes = new Set(tls12Schemes(facts).map(({ codePoint }) => codePoint))
    this.#holders = options.holders
    this.#signing = options.signing
    // An RSA signature with a fault in it gives the private key away (Boneh, DeMillo, Lipton 1997).
    // A checkpoint is read years later: then is too late to learn that it was wrong.
    this.#verify =
      options.signing.verify === 'always' || facts.keyType === 'rsa' || options.purpose === 'audit-checkpoint'
    this.#hedge = options.signing.hedge === 'auto' && options.holders.length > 1
    this.#onWork = options.onWork
    this.#onUse = options.onUse
    this.#reason = options.purpose === 'tls' ? 'handshake' : 'checkpoint'
    this.#metrics = options.metrics
    this.#log = options.log
    this.healthChanged()
  }

  /** What any member that is ready can do; while none is, what a key of this type can do. */
  get schemes(): readonly SignatureScheme[] {
    const ready = this.#holders.filter(({ member, key }) => member.isReady(key))
    if (ready.length === 0) return this.#possibleSchemes
    return schemes.filter(({ codePoint }) =>
      ready.some(({ member, key }) => member.keys.schemes(key).has(codePoint)),
    )
  }

  /** At least one member can sign now. */
  get ready(): boolean {
    return this.#holders.some(({ member, key }) => member.isReady(key))
  }

  /** Who signs now, or may later, and what keeps the others from it. */
  outlook(): KeyOutlook {
    return keyOutlook(
      this.#holders.map(({ member, key }) => ({
        ready: member.isReady(key),
        final: member.final,
        problem: member.problem(key),
      })),
    )
  }

  /** Members that are ready and cannot do all that others can. */
  gaps(): readonly AbilityGap[] {
    const ready = this.#holders.filter(({ member, key }) => member.isReady(key))
    return abilityGaps(
      this.#uri,
      ready.map(({ member, key }) => ({ hsm: member.name, schemes: member.keys.schemes(key) })),
    )
  }

  status(): KeyStatus {
    return {
      membersReady: this.#membersReady,
      members: this.#holders.length,
      waiting: this.#waiting,
      queue: this.#signing.queue,
      outageSince: this.#outage?.since.toISOString(),
    }
  }

  sign(request: SignRequest): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const nowMs = performance.now()
      const job = new SignJob(request, this.#abilityFor(request.scheme), nowMs, resolve, reject)
      if (this.#closed) return job.fail(closedError())
      if (job.abandoned) return this.#abandon(job)
      if (nowMs >= request.deadlineMs) return job.fail(timeoutError(this.#uri, job, this.#waiting))
      // Whoever came a deadline ago has waited in vain until now.
      if (this.#outage !== undefined && nowMs - this.#outage.sinceMs > this.#signing.timeoutMs)
        return job.fail(this.#outageSaid(this.#outage.since, nowMs))
      this.#open.add(job)
      job.whenAbandoned(() => this.#left(job))
      this.#onWork()
      // Nobody overtakes the queue. Retries and pauses hold up nobody: they may wait for a certain member.
      if (this.#queue.size === 0 && this.#dispatch(job, nowMs)) return
      if (this.#holders.every(({ member }) => member.final))
        return this.#fail(job, allFailedError(this.#uri, job, this.#memberErrors()))
      if (this.#queue.size >= this.#signing.queue)
        return this.#fail(job, exhaustedError(this.#uri, this.#queue.size, this.ready))
      this.#queue.add(job)
      // The queue may be one of signatures that only a member that is away can make: they do not hold up this one.
      if (this.#holders.some((holder) => holder.member.hasCapacity && isOpenTo(job, holder)))
        this.#drain(this.#queue)
    })
  }

  /** A member has more to give than before, or will never have: those who wait are looked at again. */
  membersChanged(): void {
    if (this.#retries.size > 0) this.#drain(this.#retries)
    if (this.#queue.size > 0) this.#drain(this.#queue)
    if (this.#open.size > 0 && this.#holders.every(({ member }) => member.final)) {
      for (const job of this.#open)
        if (job.attemptsOpen === 0) this.#fail(job, allFailedError(this.#uri, job, this.#memberErrors()))
    }
  }

  /** A member has come up, or is up no more. */
  healthChanged(): void {
    this.#outageError = undefined
    if (this.ready) this.#outage = undefined
    else this.#outage ??= { sinceMs: performance.now(), since: new Date() }
    this.#metrics.membersReady.set(this.#membersReady)
    for (const { hsm, message } of this.gaps()) {
      if (!this.#gapsTold.has(message)) this.#log.warn({ hsm }, message)
      this.#gapsTold.add(message)
    }
  }

  /** Deadlines, hedges, pauses. @returns whether there will be anything to do at the next tick. */
  tick(nowMs: number): boolean {
    for (const job of this.#open) {
      if (nowMs >= job.request.deadlineMs) this.#fail(job, timeoutError(this.#uri, job, this.#waiting))
      else if (this.#hedge && job.attemptsOpen === 1 && !job.hedged && !job.abandoned)
        this.#hedgeIfLate(job, nowMs)
    }
    // The member they waited for is up no more: then one that has failed them will do.
    for (const job of this.#retries) {
      if (job.attemptsOpen === 0 && !this.#holders.some((holder) => isOpenTo(job, holder)))
        this.#pause(job, nowMs)
    }
    for (const job of this.#paused) {
      if (nowMs < job.pausedUntilMs) continue
      this.#paused.delete(job)
      this.#retry(job, nowMs)
    }
    this.#metrics.waiting(this.#waiting)
    return this.#open.size > 0
  }

  /** Who waits gets `ERR_HSM_CLOSED`, and so does who comes later. */
  close(): void {
    this.#closed = true
    for (const job of this.#open) this.#fail(job, closedError())
    this.#metrics.waiting(0)
  }

  /** Whoever signs with an EC key in TLS 1.3 can do so with any hash: it is the same mechanism. */
  #abilityFor({ codePoint }: SignatureScheme): number {
    return this.#tls12Schemes.has(codePoint) ? (this.#possibleSchemes[0]?.codePoint ?? codePoint) : codePoint
  }

  get #membersReady(): number {
    return this.#holders.filter(({ member, key }) => member.isReady(key)).length
  }

  get #waiting(): number {
    return this.#queue.size + this.#retries.size + this.#paused.size
  }

  #drain(jobs: Set<SignJob>): void {
    const nowMs = performance.now()
    for (const job of jobs) {
      if (!this.#holders.some(({ member, key }) => member.isReady(key) && member.hasCapacity)) return
      if (this.#dispatch(job, nowMs)) jobs.delete(job)
      // Who can go nowhere although there is room waits for a member that is not up, and lets others pass.
    }
  }

  /** @returns false when no member can take it now. */
  #dispatch(job: SignJob, nowMs: number): boolean {
    const slow = job.attemptsOpen > 0 ? job.lastMember : undefined
    const holder = this.#choose(job, slow)
    if (holder === undefined) return false
    if (job.attemptsMade === 0) {
      holder.member.metrics.waited(job.request.scheme, (nowMs - job.startedAtMs) / 1000)
    }
    const { late, lastSentAtMs } = job
    this.#send(job, holder, nowMs)
    if (slow !== undefined) {
      job.hedged = true
      job.late = { member: slow, sentAtMs: lastSentAtMs }
      // Once, also when it is hedged again.
      if (late?.member !== slow || late.sentAtMs !== lastSentAtMs) slow.late()
    }
    return true
  }

  /**
   * Of the members that can do it, have room, and have not failed this job, the one whose turn is longest ago: so the shares
   * are even also when one is down, or cannot do this scheme.
   *
   * Turns are turns of the event loop, not signatures: what comes in together goes to one host together, in one write and
   * one wake-up, and the next batch goes to the next member.
   */
  #choose(job: SignJob, except?: Member): Holder | undefined {
    const turn = this.#takeTurn()
    let chosen: Holder | undefined
    let oldestTurn = Number.POSITIVE_INFINITY
    for (const holder of this.#holders) {
      const { member } = holder
      if (member === except || !member.hasCapacity || !isOpenTo(job, holder)) continue
      const lastTurn = this.#lastTurns.get(member) ?? 0
      if (lastTurn === turn) return holder
      if (lastTurn >= oldestTurn) continue
      oldestTurn = lastTurn
      chosen = holder
    }
    if (chosen !== undefined) this.#lastTurns.set(chosen.member, turn)
    return chosen
  }

  #takeTurn(): number {
    if (!this.#turnTaken) {
      this.#turnTaken = true
      this.#turn++
      setImmediate(() => {
        this.#turnTaken = false
      })
    }
    return this.#turn
  }

  #send(job: SignJob, { member, key }: Holder, nowMs: number): void {
    job.attemptsMade++
    job.attemptsOpen++
    job.lastMember = member
    job.lastSentAtMs = nowMs
    member.send(new KeyAttempt(this, job, member, key), nowMs)
  }

  /** @internal @returns false when the signature is wrong. */
  attemptSucceeded(job: SignJob, member: Member, signature: Uint8Array): boolean {
    job.attemptsOpen--
    // Late: another member was quicker, or the deadline has passed. It belongs to nobody.
    if (job.settled) return true
    const { scheme, message } = job.request
    if (this.#verify && !isSignature(this.#publicKey, scheme, message, signature)) {
      this.#failedOn(job, member, badSignatureError(this.#uri, member.name))
      return false
    }
    this.#forget(job)
    job.succeed(signature)
    return true
  }

  /** @internal */
  attemptFailed(job: SignJob, member: Member, error: HsmError): void {
    job.attemptsOpen--
    if (!job.settled) this.#failedOn(job, member, error)
  }

  /** @internal Every attempt comes here once, also one whose answer belongs to nobody: the key has been used. */
  attemptEnded(
    { request }: SignJob,
    ended: Pick<SignatureUse, 'hsm' | 'result' | 'used' | 'latencyMs' | 'attempt' | 'hedge'>,
  ): void {
    this.#onUse({
      kind: 'signature',
      reason: this.#reason,
      uri: this.#uri,
      spki: this.spki,
      scheme: request.scheme,
      message: request.message,
      connection: request.connection,
      ...ended,
    })
  }

  #failedOn(job: SignJob, member: Member, error: HsmError): void {
    job.noteError(error)
    if (!error.retryable) {
      this.#fail(job, error)
      return
    }
    // A host that died says nothing about the next one.
    if (error.code !== 'ERR_HSM_HOST_EXITED') job.noteFailedOn(member)
    if (job.attemptsOpen > 0) {
      // Who was asked instead may be late as well.
      if (member !== job.lastMember) job.hedged = false
      else this.#hedgeFailed(job)
      return
    }
    job.hedged = false
    if (job.abandoned) {
      this.#abandon(job)
      return
    }
    if (job.attemptsMade >= MAX_ATTEMPTS) {
      this.#fail(job, allFailedError(this.#uri, job, this.#memberErrors()))
      return
    }
    member.metrics.retried(error.code)
    const nowMs = performance.now()
    // Not: a member that may come up some day, or cannot do this at all. Whoever failed may have had a hiccup.
    if (this.#holders.some((holder) => isOpenTo(job, holder))) {
      this.#retry(job, nowMs)
      return
    }
    this.#pause(job, nowMs)
  }

  /** The one that was late has not answered yet: somebody else is asked instead; if nobody is left, the same, a little later. */
  #hedgeFailed(job: SignJob): void {
    const { late } = job
    if (late === undefined || job.attemptsMade >= MAX_ATTEMPTS) return
    job.hedged = false
    job.lastMember = late.member
    job.lastSentAtMs = late.sentAtMs
    if (this.#holders.some((holder) => holder.member !== late.member && isOpenTo(job, holder))) return
    job.pause(performance.now() + pauseMs(job))
  }

  /** Nobody is left to ask: all may be asked again, a little later. */
  #pause(job: SignJob, nowMs: number): void {
    this.#retries.delete(job)
    job.pause(nowMs + pauseMs(job))
    this.#paused.add(job)
  }

  #retry(job: SignJob, nowMs: number): void {
    if (this.#dispatch(job, nowMs)) this.#retries.delete(job)
    else this.#retries.add(job)
  }

  #hedgeIfLate(job: SignJob, nowMs: number): void {
    const slow = job.lastMember
    const lateMs = nowMs - job.lastSentAtMs
    if (slow === undefined || lateMs < slow.hedgeDelayMs || nowMs < job.pausedUntilMs) return
    // When all others are full, a hedge would only take somebody else's place; except for a member that hangs, which is to
    // cost its signatures no more than this delay, and for a single call that does.
    if (!slow.hasAnsweredSince(job.lastSentAtMs) || lateMs >= slow.lostAfterMs) this.#retry(job, nowMs)
    else if (this.#dispatch(job, nowMs)) this.#retries.delete(job)
  }

  /** Nobody wants it any more. What a member has in hand cannot be called back, and its answer settles the job. */
  #left(job: SignJob): void {
    // It may wait for another member as well, which is not to be asked any more.
    this.#retries.delete(job)
    if (job.attemptsOpen === 0) this.#abandon(job)
  }

  #abandon(job: SignJob): void {
    this.#metrics.abandoned.inc()
    this.#fail(job, abandonedError(this.#uri))
  }

  #fail(job: SignJob, error: HsmError): void {
    this.#forget(job)
    job.fail(error)
  }

  #outageSaid(since: Date, nowMs: number): HsmError {
    if (this.#outageError === undefined || nowMs >= this.#outageError.untilMs) {
      const members = this.#holders.map(({ member, key }) => ({
        condition: member.condition,
        problem: member.problem(key),
      }))
      const error = outageError(this.#uri, since.toISOString(), members)
      this.#outageError = { error, untilMs: nowMs + OUTAGE_ERROR_MS }
    }
    return this.#outageError.error
  }

  #memberErrors(): readonly HsmError[] {
    return this.#holders.flatMap(({ member }) => member.lastError ?? [])
  }

  #forget(job: SignJob): void {
    this.#open.delete(job)
    if (this.#waiting === 0) return
    this.#queue.delete(job)
    this.#retries.delete(job)
    this.#paused.delete(job)
  }
}

/** A member that is up, can do it, and has not failed it. */
function isOpenTo(job: SignJob, { member, key }: Holder): boolean {
  return !job.hasFailedOn(member) && member.canSign(key, job.ability)
}

function pauseMs({ attemptsMade }: SignJob): number {
  return FIRST_PAUSE_MS * 2 ** Math.min(attemptsMade, MAX_DOUBLINGS)
}

class KeyAttempt implements Attempt {
  readonly key: number
  readonly test = false
  sentAtMs = 0
  readonly #owner: PooledKey
  readonly #job: SignJob
  readonly #member: Member
  readonly #number: number
  readonly #hedge: boolean

  constructor(owner: PooledKey, job: SignJob, member: Member, key: number) {
    this.#owner = owner
    this.#job = job
    this.#member = member
    this.key = key
    this.#number = job.attemptsMade
    // Another one is out: this is the second opinion.
    this.#hedge = job.attemptsOpen > 1
  }

  get scheme(): SignatureScheme {
    return this.#job.request.scheme
  }

  get message(): Uint8Array {
    return this.#job.request.message
  }

  succeeded(signature: Uint8Array): boolean {
    const late = this.#job.settled
    const good = this.#owner.attemptSucceeded(this.#job, this.#member, signature)
    this.#tell(good ? 'ok' : 'ERR_HSM_BAD_SIGNATURE', good && !late)
    return good
  }

  failed(error: HsmError): void {
    this.#owner.attemptFailed(this.#job, this.#member, error)
    this.#tell(error.code, false)
  }

  #tell(result: SignatureUse['result'], used: boolean): void {
    this.#owner.attemptEnded(this.#job, {
      hsm: this.#member.name,
      result,
      used,
      latencyMs: performance.now() - this.sentAtMs,
      attempt: this.#number,
      hedge: this.#hedge,
    })
  }
}

// Only against endless rounds: a member that fails this often in a row is resting long before.
const MAX_ATTEMPTS = 16
const OUTAGE_ERROR_MS = 1000
const FIRST_PAUSE_MS = 5
const MAX_DOUBLINGS = 5
