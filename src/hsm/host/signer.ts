/**
 * Turns sign requests into PKCS#11 calls and answers each of them exactly once. Long because all ways a request can end in
 * stand beside each other.
 */

import { type Curve, type SignatureScheme, schemeByCodePoint } from '../../signing.ts'
import { returnValue } from '../ckr.ts'
import type { FailedCall, FailedReason } from '../frames.ts'
import { MECHANISMS, tls12Schemes } from '../mechanism.ts'
import { CallMode } from './call-mode.ts'
import { CheckpointOrder } from './checkpoint-order.ts'
import { isRawEcdsaLength, writeEcdsaSignature } from './ecdsa-signature.ts'
import type { KeyObject } from './key-objects.ts'
import { isPermitted } from './key-use-policy.ts'
import type { Login } from './login.ts'
import { inputOf, mechanismOf } from './operation.ts'
import { type Handle, type Mechanism, Pkcs11Error } from './pkcs11.ts'
import { type Session, SessionPool } from './session-pool.ts'
import type { Token } from './token.ts'

/** Where the answers go. */
export interface Answers {
  /** @param signature valid only during the call. */
  signed(request: number, micros: number, signature: Uint8Array): void
  failed(request: number, facts: { micros: number; rv: number; call: FailedCall; reason: FailedReason }): void
  sessions(open: number, limit: number): void
  /** The token must not be used any longer, or this program is wrong. */
  fatal(error: unknown): void
}

/** Who decides when to recover. */
export interface Health {
  /** @param key its number, as in the configuration. */
  succeeded(key: number): void
  /** Called after the failure was answered; may suspend the signer. */
  failed(error: Pkcs11Error, key: number): void
}

/** All that is known beforehand of signing with one key and one scheme. */
interface Plan {
  readonly scheme: SignatureScheme
  /** The key's own, which in TLS 1.2 need not be the scheme's. */
  readonly curve: Curve | undefined
  readonly mechanism: Mechanism
  readonly rawRs: boolean
  readonly key: KeyObject
  readonly callMode: CallMode
}

/** The token as it was opened last, and what signs with it. */
interface Bench {
  readonly token: Token
  readonly plans: readonly (ReadonlyMap<number, Plan> | undefined)[]
  readonly sessions: SessionPool
}

interface Operation {
  readonly request: number
  readonly key: number
  readonly plan: Plan
  readonly bench: Bench
  /** What C_Sign is given: a digest, a DigestInfo, or for Ed25519 the message. */
  readonly input: Buffer
  /** `performance.now()` just before C_SignInit. */
  startedAtMs: number
  retried: boolean
  /** The signer was suspended while C_Sign ran: what that returns belongs to nobody. */
  answered: boolean
}

export class Signer {
  readonly #answers: Answers
  readonly #health: Health
  readonly #login: Login
  readonly #checkpoints = new CheckpointOrder()
  /** undefined while suspended. */
  #bench: Bench | undefined
  /** Of before it was suspended. */
  #oldSessions: SessionPool | undefined
  readonly #waiting: Operation[] = []
  /** Those whose C_Sign runs on another thread. */
  readonly #running = new Set<Operation>()
  #onQuiet: (() => void) | undefined
  readonly #der = Buffer.allocUnsafeSlow(256)
  #drainScheduled = false

  /** Suspended, until the first `resume()`. */
  constructor(answers: Answers, health: Health, login: Login) {
    this.#answers = answers
    this.#health = health
    this.#login = login
  }

  /** Signs again, with sessions that are all fresh. */
  resume(token: Token, keys: readonly (KeyObject | undefined)[]): void {
    const sessions = new SessionPool({
      module: token.module,
      slot: token.slot,
      limit: token.sessionLimit,
      onChange: () => {
        if (this.#bench?.sessions === sessions) this.#answers.sessions(sessions.open, sessions.limit)
      },
    })
    this.#oldSessions = undefined
    this.#bench = { token, plans: keys.map((key) => key && plansFor(key)), sessions }
  }

  /** Fails at once whatever has no answer yet, and all that is asked until `resume()`: other members can sign it. */
  suspend(): void {
    const bench = this.#bench
    if (bench === undefined) return
    this.#bench = undefined
    this.#oldSessions = bench.sessions
    for (const operation of [...this.#waiting.splice(0), ...this.#running]) {
      operation.answered = true
      this.#refuse(operation.request, 'recovering')
    }
  }

  /** Resolves when no call of this signer is in the module any more; false when one still is after `limitMs`. */
  quiet(limitMs: number): Promise<boolean> {
    if (this.#running.size === 0) return Promise.resolve(true)
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), limitMs)
      this.#onQuiet = () => {
        clearTimeout(timer)
        resolve(true)
      }
    })
  }

  /** While it is suspended and quiet, unless the module ends all sessions anyway. */
  closeSessions(): void {
    this.#oldSessions?.closeIdle()
  }

  /** @param message read before the call returns. */
  sign(request: number, key: number, codePoint: number, message: Uint8Array): void {
    const bench = this.#bench
    if (bench === undefined) {
      this.#refuse(request, 'recovering')
      return
    }
    const plan = bench.plans[key]?.get(codePoint)
    if (plan === undefined) {
      this.#refuse(request, 'no-such-key')
      return
    }
    if (!isPermitted(plan.key.purpose, plan.scheme, message)) {
      this.#refuse(request, 'policy')
      return
    }
    // The front process never asks for more than `limit` at once; who does is not the front process.
    if (this.#waiting.length >= 2 * bench.token.sessionLimit) {
      this.#refuse(request, 'busy')
      return
    }
    if (plan.key.purpose === 'audit-checkpoint' && !this.#checkpoints.admits(message)) {
      this.#refuse(request, 'policy')
      return
    }
    const input = inputOf(plan.scheme, message, plan.curve)
    const operation = { request, key, plan, bench, input, startedAtMs: 0, retried: false, answered: false }
    if (this.#waiting.length > 0 || !this.#start(operation)) this.#wait(operation)
  }

  /** @returns false when there is no session for it now. */
  #start(operation: Operation): boolean {
    let session: Session | undefined
    try {
      session = operation.bench.sessions.acquire()
    } catch (error) {
      operation.startedAtMs = performance.now()
      this.#fail(operation, error)
      return true
    }
    if (session === undefined) return false
    this.#run(operation, session)
    return true
  }

  #run(operation: Operation, session: Session): void {
    const { plan, input, bench } = operation
    const { module } = bench.token
    let signatureBytes: number
    let nowMs: number
    try {
      operation.startedAtMs = performance.now()
      module.signInit(session.handle, plan.mechanism, plan.key.handle)
      if (plan.key.alwaysAuthenticate) this.#authenticate(bench.token, session.handle)
      const beforeMs = performance.now()
      if (!plan.callMode.mayBlock(beforeMs)) {
        this.#runAsync(operation, session)
        return
      }
      signatureBytes = module.sign(session.handle, input, session.output)
      nowMs = performance.now()
      plan.callMode.record(nowMs - beforeMs, nowMs)
    } catch (error) {
      this.#break(operation, session, error)
      return
    }
    this.#succeed(operation, session, signatureBytes, nowMs)
  }

  #runAsync(operation: Operation, session: Session): void {
    const { module } = operation.bench.token
    this.#running.add(operation)
    module.signAsync(session.handle, operation.input, session.output, (error, signatureBytes) => {
      this.#running.delete(operation)
      if (operation.answered) operation.bench.sessions.discard(session)
      else if (error === undefined) this.#succeed(operation, session, signatureBytes, performance.now())
      else this.#break(operation, session, error)
      if (this.#running.size === 0) this.#onQuiet?.()
      this.#drain()
    })
  }

  /** PKCS#11 v3.1, C_Login: for such keys between C_SignInit and C_Sign, with CKU_CONTEXT_SPECIFIC. */
  #authenticate(token: Token, session: Handle): void {
    this.#login.performForSignature(token.module, token.slot, session)
  }

  #succeed(operation: Operation, session: Session, signatureBytes: number, nowMs: number): void {
    const micros = (nowMs - operation.startedAtMs) * 1000
    const { plan, request, bench } = operation
    if (signatureBytes === 0 || (plan.rawRs && !isRawEcdsaLength(signatureBytes))) {
      this.#answers.failed(request, { micros, rv: 0, call: 'C_Sign', reason: 'bad-signature' })
      bench.sessions.discard(session)
      return
    }
    const raw = session.output.subarray(0, signatureBytes)
    const signature = plan.rawRs ? this.#der.subarray(0, writeEcdsaSignature(raw, this.#der)) : raw
    this.#health.succeeded(operation.key)
    this.#answers.signed(request, micros, signature)
    bench.sessions.release(session)
  }

  /**
   * The session has failed: it goes, and when that may be all that was wrong, the operation gets a fresh one, once: the
   * lowest rung of the ladder, that only this operation takes.
   */
  #break(operation: Operation, session: Session, error: unknown): void {
    const { sessions } = operation.bench
    sessions.discard(session)
    if (!(error instanceof Pkcs11Error)) {
      this.#fail(operation, error)
      return
    }
    const { code, action } = returnValue(error.rv)
    if (code === 'ERR_HSM_SESSION_LOST') sessions.discardIdle()
    if (action !== 'session' || operation.retried) {
      this.#fail(operation, error)
      return
    }
    operation.retried = true
    if (!this.#start(operation)) this.#wait(operation)
  }

  #fail(operation: Operation, error: unknown): void {
    const known = error instanceof Pkcs11Error ? error : undefined
    this.#answers.failed(operation.request, {
      micros: (performance.now() - operation.startedAtMs) * 1000,
      rv: known?.rv ?? 0,
      call: failedCall(known?.call),
      reason: 'call',
    })
    if (known === undefined || returnValue(known.rv).action === 'stop') {
      // What waits must not try again what the token has just refused.
      this.suspend()
      this.#answers.fatal(error)
    } else this.#health.failed(known, operation.key)
  }

  #refuse(request: number, reason: FailedReason): void {
    this.#answers.failed(request, { micros: 0, rv: 0, call: '', reason })
  }

  #wait(operation: Operation): void {
    this.#waiting.push(operation)
    this.#drainLater(operation.bench.sessions)
  }

  /** A session that is returned drains the queue, except when none is out because too few were opened yet. */
  #drainLater(sessions: SessionPool): void {
    if (this.#drainScheduled || !sessions.mayGrow) return
    this.#drainScheduled = true
    setImmediate(() => {
      this.#drainScheduled = false
      this.#drain()
    })
  }

  #drain(): void {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      if (this.#start(next)) continue
      this.#waiting.unshift(next)
      this.#drainLater(next.bench.sessions)
      return
    }
  }
}

function plansFor(key: KeyObject): ReadonlyMap<number, Plan> {
  const own = key.schemes.flatMap((codePoint) => schemeByCodePoint(codePoint) ?? [])
  const curve = own.find(({ keyType }) => keyType === 'ec')?.curve
  const also = curve === undefined ? [] : tls12Schemes({ keyType: 'ec', curve })
  return new Map([...own, ...also].map((scheme) => [scheme.codePoint, planFor(key, scheme, curve)]))
}

function planFor(key: KeyObject, scheme: SignatureScheme, curve: Curve | undefined): Plan {
  return {
    scheme,
    curve,
    mechanism: mechanismOf(scheme),
    rawRs: MECHANISMS[scheme.name].output === 'raw-rs',
    key,
    callMode: new CallMode(),
  }
}

function failedCall(name: string | undefined): FailedCall {
  return name === 'C_SignInit' || name === 'C_Sign' || name === 'C_OpenSession' || name === 'C_Login'
    ? name
    : ''
}
