/**
 * One HSM of the pool: its host process, its health, and the signatures it was asked for.
 *
 * The life of a member is drawn in README.md with the words of `MemberState`. Every state has at most one timer.
 */

import { HsmError } from '../errors.ts'
import type { Log } from '../log.ts'
import { BackOff } from './back-off.ts'
import { Breaker } from './breaker.ts'
import { returnValue } from './ckr.ts'
import type { FailedCall, FailedReason } from './frames.ts'
import { HostProcess } from './host-process.ts'
import { Latency } from './latency.ts'
import { MemberKeys, type WantedKey } from './member-keys.ts'
import type { MemberMetrics } from './member-metrics.ts'
import { type ProblemMessage, problemError, type ReadyMessage } from './messages.ts'
import type { HsmOptions } from './options.ts'
import type { Attempt } from './sign-job.ts'

export type MemberState = 'starting' | 'proving' | 'up' | 'resting' | 'down' | 'failed' | 'closed'

/** What /status shows of a member. */
export interface HsmStatus {
  readonly name: string
  readonly state: MemberState
  /** ISO 8601: when this state began. */
  readonly since: string
  readonly pid: number | undefined
  readonly token: { readonly label: string; readonly serial: string } | undefined
  readonly sessions: { readonly open: number; readonly limit: number }
  readonly inFlight: number
  /** A signature that takes longer is asked of another member too. */
  readonly hedgeDelayMs: number
  readonly restarts: number
  readonly lastError: { readonly code: string; readonly message: string; readonly at: string } | undefined
  readonly keys: readonly {
    readonly uri: string
    readonly ready: boolean
    readonly error: string | undefined
  }[]
}

export interface MemberOptions {
  readonly hsm: HsmOptions
  readonly keys: readonly WantedKey[]
  readonly entry: string
  /** A call that takes longer is taken for one that never ends, and the host is killed. */
  readonly hangMs: number
  readonly log: Log
  readonly metrics: MemberMetrics
  /** Signatures that wait may find more here than before: a free session, a member that is up, or one that never will be. */
  readonly onChange: (member: Member) => void
}

export class Member {
  readonly name: string
  readonly metrics: MemberMetrics
  readonly keys: MemberKeys
  readonly #options: MemberOptions
  readonly #latency = new Latency()
  readonly #breaker = new Breaker()
  readonly #restartBackOff = new BackOff({ firstMs: 50, capMs: 1000 })
  readonly #restBackOff = new BackOff({ firstMs: 200, capMs: 5000 })
  /** Oldest first. */
  readonly #inFlight = new Map<number, Attempt>()
  #lastRequest = 0
  #state: MemberState = 'down'
  #sinceMs = Date.now()
  #timer: NodeJS.Timeout | undefined
  #host: HostProcess | undefined
  #problem: HsmError | undefined
  #lastError: { readonly error: HsmError; readonly atMs: number } | undefined
  #token: HsmStatus['token']
  #sessions = { open: 0, limit: 0 }
  #restarts = 0
  #testsOpen = 0
  #firstTryOver: (() => void) | undefined
  #closing: Promise<void> | undefined
  #hostGone: (() => void) | undefined

  constructor(options: MemberOptions) {
    this.name = options.hsm.name
    this.metrics = options.metrics
    this.keys = new MemberKeys(this.name, options.keys)
    this.#options = options
  }

  /** Resolves when the member is up, or its first try to get there has failed; it then goes on trying by itself. */
  start(): Promise<void> {
    return new Promise((resolve) => {
      this.#firstTryOver = resolve
      this.#spawn()
    })
  }

  /** Why it is not up, or why it last was not; undefined when nothing has gone wrong yet. */
  get lastError(): HsmError | undefined {
    return this.#lastError?.error
  }

  /** What is wrong now: with the member, or with single keys of a member that is up. */
  problems(): readonly HsmError[] {
    if (this.#state !== 'up') return this.#lastError === undefined ? [] : [this.#lastError.error]
    return this.keys.messages.flatMap((_, key) => this.keys.error(key) ?? [])
  }

  /** It will not come back by itself. */
  get final(): boolean {
    return this.#state === 'failed' || this.#state === 'closed'
  }

  get inFlight(): number {
    return this.#inFlight.size
  }

  get hedgeDelayMs(): number {
    return this.#latency.hedgeDelayMs
  }

  canSign(key: number, codePoint: number): boolean {
    return this.isReady(key) && this.keys.schemes(key).has(codePoint)
  }

  isReady(key: number): boolean {
    return this.#state === 'up' && this.keys.error(key) === undefined && this.keys.schemes(key).size > 0
  }

  get hasCapacity(): boolean {
    return this.#inFlight.size < this.#sessions.limit
  }

  /** Sends a sign request; the attempt is told its end exactly once, whatever becomes of the host. */
  send(attempt: Attempt, nowMs: number): void {
    const host = this.#host
    if (host === undefined) throw new Error(`member ${this.name} has no host`)
    // Requests in flight are few and numbers are 2^32, so one is free again long before its turn comes.
    this.#lastRequest = (this.#lastRequest + 1) >>> 0
    attempt.sentAtMs = nowMs
    this.#inFlight.set(this.#lastRequest, attempt)
    host.sign(this.#lastRequest, attempt.key, attempt.scheme, attempt.message)
  }

  /** A signature of this member is late, and another member was asked. */
  late(nowMs: number): void {
    this.metrics.hedges.inc()
    if (this.#state === 'up' && this.#breaker.late(nowMs)) {
      this.#rest(this.#error('ERR_HSM_SIGN_TIMEOUT', 'does not answer any more'))
    }
  }

  /** To be called every few milliseconds while anything is in flight. */
  tick(nowMs: number): void {
    this.metrics.inFlight.set(this.#inFlight.size)
    for (const oldest of this.#inFlight.values()) {
      if (nowMs - oldest.sentAtMs > this.#options.hangMs) {
        this.#kill(`a signature took more than ${this.#options.hangMs} ms`)
      }
      return
    }
  }

  status(): HsmStatus {
    const last = this.#lastError
    return {
      name: this.name,
      state: this.#state,
      since: new Date(this.#sinceMs).toISOString(),
      pid: this.#host?.pid,
      token: this.#token,
      sessions: { ...this.#sessions },
      inFlight: this.#inFlight.size,
      hedgeDelayMs: this.hedgeDelayMs,
      restarts: this.#restarts,
      lastError: last && {
        code: last.error.code,
        message: last.error.message,
        at: new Date(last.atMs).toISOString(),
      },
      keys: this.keys.status(),
    }
  }

  /** Ends the host: by itself within two seconds, by force after. Attempts in flight fail. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#enter('closed')
      this.#endFirstTry()
      this.#hostGone = resolve
      if (this.#host === undefined) resolve()
      else this.#host.close()
    })
    return this.#closing
  }

  #spawn(): void {
    this.#enter('starting', START_LIMIT_MS, () =>
      this.#kill(`the module was not ready after ${START_LIMIT_MS / 1000} s`),
    )
    this.#problem = undefined
    this.#host = new HostProcess({
      hsm: this.#options.hsm,
      keys: this.keys.messages,
      entry: this.#options.entry,
      log: this.#options.log,
      events: {
        ready: (message) => this.#ready(message),
        problem: (problem) => this.#trouble(problem),
        signed: (request, seconds, signature) => this.#signed(request, seconds, signature),
        failed: (request, failure) => this.#failed(request, failure),
        sessions: (open, limit) => this.#setSessions(open, limit),
        lost: () => this.#lost(),
        exited: (how) => this.#exited(how),
      },
    })
  }

  #ready(message: ReadyMessage): void {
    if (this.#state !== 'starting') return
    this.#token = message.token
    this.#setSessions(0, message.sessions)
    this.keys.opened(message.keys)
    this.#prove()
  }

  /** Up is who has just made a signature that the certificate's public key verifies; user traffic tries nothing out. */
  #prove(): void {
    this.#enter('proving')
    const tests = this.keys.testable()
    this.#testsOpen = tests.length
    if (tests.length === 0) {
      this.#proved()
      return
    }
    const nowMs = performance.now()
    for (const { key, scheme, message } of tests) {
      const ended = (): void => {
        if (--this.#testsOpen === 0) this.#proved()
      }
      this.send(
        {
          key,
          scheme,
          message,
          test: true,
          sentAtMs: nowMs,
          succeeded: (signature) => {
            const good = this.keys.checkTest(key, scheme, signature) === undefined
            ended()
            return good
          },
          failed: (error) => {
            this.keys.testFailed(key, error)
            ended()
          },
        },
        nowMs,
      )
    }
    this.#options.onChange(this)
  }

  #proved(): void {
    if (this.#state !== 'proving') return
    const errors = this.keys.messages.map((_, key) => this.keys.error(key))
    if (errors.includes(undefined)) {
      this.#up(errors.filter((error) => error !== undefined))
      return
    }
    const [error] = errors
    this.#note(error ?? this.#error('ERR_HSM_FAILED', 'has no key to sign with'))
    // The host may be what is wrong (stale handles, a lost login): the next try is with a new one.
    this.#problem = error
    this.#retire()
  }

  #up(keyErrors: readonly HsmError[]): void {
    this.#enter('up')
    this.#breaker.reset(performance.now())
    this.metrics.up.set(1)
    this.#options.log.info({ hsm: this.name, pid: this.#host?.pid, ...this.#token }, 'hsm is up')
    for (const error of keyErrors) {
      this.#note(error)
      this.#options.log.warn({ hsm: this.name, code: error.code }, error.message)
    }
    this.#endFirstTry()
    this.#options.onChange(this)
  }

  #signed(request: number, hsmSeconds: number, signature: Uint8Array): void {
    const attempt = this.#take(request)
    if (attempt === undefined) return
    const nowMs = performance.now()
    this.#latency.record(nowMs - attempt.sentAtMs)
    if (attempt.succeeded(signature)) {
      this.#breaker.succeeded(nowMs)
      if (!attempt.test) this.metrics.signed(attempt.scheme, hsmSeconds)
    } else if (!attempt.test) {
      // One is enough: whatever makes wrong signatures must not make any more.
      this.metrics.failed(attempt.scheme, 'ERR_HSM_BAD_SIGNATURE')
      if (this.#state === 'up') this.#rest(this.#error('ERR_HSM_BAD_SIGNATURE', 'returned a wrong signature'))
    }
    this.#options.onChange(this)
  }

  #failed(request: number, failure: { rv: number; call: FailedCall; reason: FailedReason }): void {
    const attempt = this.#take(request)
    if (attempt === undefined) return
    const error = this.#failure(failure)
    const { name, action } = returnValue(failure.rv)
    if (failure.reason === 'call') this.metrics.callFailed(name)
    if (!attempt.test) this.metrics.failed(attempt.scheme, error.code)
    const opens = failure.reason !== 'policy' && this.#breaker.failed(performance.now())
    this.#note(error)
    if (this.#state === 'up') {
      if (action === 'reopen-token') {
        this.#problem = error
        this.#retire()
      } else if (opens) this.#rest(error)
    }
    attempt.failed(error)
    this.#options.onChange(this)
  }

  #failure(failure: { rv: number; call: FailedCall; reason: FailedReason }): HsmError {
    switch (failure.reason) {
      case 'policy':
        return this.#error('ERR_HSM_REFUSED', 'the host refused a message that is no TLS handshake')
      case 'no-such-key':
        return this.#error('ERR_HSM_MECHANISM', 'the host has no such key, or not with this scheme')
      case 'busy':
        return this.#error('ERR_HSM_FAILED', 'the host was sent more than it has sessions for')
      case 'bad-signature':
        return this.#error('ERR_HSM_BAD_SIGNATURE', 'C_Sign returned something that is no signature')
      case 'call': {
        const { name, code } = returnValue(failure.rv)
        return new HsmError(code, `hsm "${this.name}": ${failure.call} returned ${name}`, {
          hsm: this.name,
          rv: failure.rv,
          call: failure.call,
        })
      }
    }
  }

  #take(request: number): Attempt | undefined {
    const attempt = this.#inFlight.get(request)
    if (attempt !== undefined) this.#inFlight.delete(request)
    return attempt
  }

  #setSessions(open: number, limit: number): void {
    this.#sessions = { open, limit }
    this.metrics.sessions.set(open)
  }

  /** Out of service for a while; then a test signature decides. */
  #rest(error: HsmError): void {
    if (Date.now() - this.#sinceMs > STEADY_MS) this.#restBackOff.reset()
    const restMs = this.#restBackOff.next()
    this.#note(error)
    this.#options.log.warn(
      { hsm: this.name, code: error.code, restMs: Math.round(restMs) },
      `${error.message}; resting`,
    )
    this.#enter('resting', restMs, () => this.#prove())
  }

  /** Ends the host in good order; what is in flight is lost at once, so that it can go elsewhere. */
  #retire(): void {
    this.#enter('down')
    this.#host?.close()
  }

  #kill(reason: string): void {
    this.#problem = this.#error('ERR_HSM_HOST_EXITED', `host killed: ${reason}`)
    this.#enter('down')
    this.#host?.kill(reason)
  }

  #trouble(problem: ProblemMessage): void {
    this.#problem = problemError(this.name, problem)
    if (problem.rv !== null) this.metrics.callFailed(returnValue(problem.rv).name)
    this.#enterFinal(problem.final)
  }

  #enterFinal(final: boolean): void {
    if (final && this.#state !== 'closed') this.#enter('failed')
  }

  /** From here on nothing is answered: everything in flight goes back to who asked. */
  #lost(): void {
    if (!this.final) this.#enter('down')
    this.#setSessions(0, 0)
    const attempts = [...this.#inFlight.values()]
    this.#inFlight.clear()
    this.metrics.inFlight.set(0)
    if (attempts.length > 0) {
      const error = this.#error('ERR_HSM_HOST_EXITED', 'the host process ended with the signature in flight')
      for (const attempt of attempts) {
        if (!attempt.test) this.metrics.failed(attempt.scheme, error.code)
        attempt.failed(error)
      }
    }
    this.#options.onChange(this)
  }

  #exited(how: string): void {
    this.#host = undefined
    const error = this.#problem ?? this.#error('ERR_HSM_HOST_EXITED', `the host process ${how}`)
    this.#note(error)
    if (this.#state === 'closed') {
      this.#hostGone?.()
      return
    }
    const facts = { hsm: this.name, code: error.code }
    if (this.#state === 'failed') {
      this.#options.log.error(facts, `${error.message}; out of service until restarted`)
    } else {
      const delayMs = this.#restartBackOff.next()
      this.#options.log.warn({ ...facts, restartMs: Math.round(delayMs) }, error.message)
      this.#enter('down', delayMs, () => {
        this.#restarts++
        this.metrics.restarts.inc()
        this.#spawn()
      })
    }
    this.#endFirstTry()
    this.#options.onChange(this)
  }

  #enter(state: MemberState, limitMs?: number, onLimit?: () => void): void {
    clearTimeout(this.#timer)
    this.#timer = limitMs === undefined || onLimit === undefined ? undefined : setTimeout(onLimit, limitMs)
    if (state === this.#state) return
    if (this.#state === 'up') {
      this.metrics.up.set(0)
      if (Date.now() - this.#sinceMs > STEADY_MS) this.#restartBackOff.reset()
    }
    this.#state = state
    this.#sinceMs = Date.now()
  }

  #endFirstTry(): void {
    this.#firstTryOver?.()
    this.#firstTryOver = undefined
  }

  #note(error: HsmError): void {
    this.#lastError = { error, atMs: Date.now() }
  }

  #error(code: ProblemMessage['code'], text: string): HsmError {
    return new HsmError(code, `hsm "${this.name}": ${text}`, { hsm: this.name })
  }
}

// Some tokens need 20 s for C_Initialize and login.
const START_LIMIT_MS = 30_000
// Up for this long: the next trouble is a new one.
const STEADY_MS = 10_000
