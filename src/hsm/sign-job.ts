/** One signature that somebody waits for, and the requests sent to members to get it. */

import type { HsmError } from '../errors.ts'
import type { SignatureScheme, SignRequest } from '../signing.ts'
import type { Member } from './member.ts'

/** One request to one member. It stays the member's until it is answered, whoever still waits for it. */
export interface Attempt {
  /** Index among the member's keys. */
  readonly key: number
  readonly scheme: SignatureScheme
  readonly message: Uint8Array
  /** A test signature: it is in no count of signatures. */
  readonly test: boolean
  /** `performance.now()`; set by the member. */
  sentAtMs: number
  /** Either this or `failed` is called, once. @returns false: that is no signature of this message by this key. */
  succeeded(signature: Uint8Array): boolean
  failed(error: HsmError): void
}

/** Settles exactly once, however many attempts run, fail, or answer late. */
export class SignJob {
  readonly request: SignRequest
  /** Code point of the scheme that a member must be able to do. */
  readonly ability: number
  readonly startedAtMs: number
  #errors: HsmError[] | undefined
  #failedOn: Set<Member> | undefined
  attemptsMade = 0
  /** Sent and not answered. */
  attemptsOpen = 0
  /** Another member was asked because the last one was late; until one of the two fails. */
  hedged = false
  lastMember: Member | undefined
  lastSentAtMs = 0
  /** The attempt that was late when another member was asked last; still out while `hedged`. */
  late: { readonly member: Member; readonly sentAtMs: number } | undefined
  /** All members that could be asked have failed it: not to be sent before this time. */
  pausedUntilMs = 0
  readonly #resolve: (signature: Uint8Array) => void
  readonly #reject: (error: HsmError) => void
  #settled = false

  constructor(
    request: SignRequest,
    ability: number,
    startedAtMs: number,
    resolve: (signature: Uint8Array) => void,
    reject: (error: HsmError) => void,
  ) {
    this.request = request
    this.ability = ability
    this.startedAtMs = startedAtMs
    this.#resolve = resolve
    this.#reject = reject
  }

  /** Every failure, oldest first. */
  get errors(): readonly HsmError[] {
    return this.#errors ?? []
  }

  noteError(error: HsmError): void {
    this.#errors ??= []
    this.#errors.push(error)
  }

  /** Has it failed on this member since its last pause? */
  hasFailedOn(member: Member): boolean {
    return this.#failedOn?.has(member) ?? false
  }

  noteFailedOn(member: Member): void {
    this.#failedOn ??= new Set()
    this.#failedOn.add(member)
  }

  pause(untilMs: number): void {
    this.#failedOn = undefined
    this.pausedUntilMs = untilMs
  }

  /** Nobody wants it any more: it is not sent again, whatever becomes of what was sent. */
  get abandoned(): boolean {
    return this.request.waiter?.hasLeft ?? false
  }

  /** @param left called when that happens, unless the job has settled before. */
  whenAbandoned(left: () => void): void {
    const { waiter } = this.request
    if (waiter !== undefined) waiter.onLeave = left
  }

  get settled(): boolean {
    return this.#settled
  }

  succeed(signature: Uint8Array): void {
    this.#settle()
    this.#resolve(signature)
  }

  fail(error: HsmError): void {
    this.#settle()
    this.#reject(error)
  }

  /** The waiter may live longer than the job, and must not keep it. */
  #settle(): void {
    this.#settled = true
    const { waiter } = this.request
    if (waiter !== undefined) waiter.onLeave = undefined
  }
}
