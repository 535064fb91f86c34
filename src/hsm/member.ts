/**
 * One HSM of the pool: its host process, its health, and the signatures it was asked for.
 *
 * The life of a member is drawn in README.md with the words of `MemberState`. Every state has at most one timer. Long
 * because all ways between the states stand here, beside each other.
 */

import { HsmError } from '../errors.ts'
import type { Log } from '../log.ts'
import { BackOff } from './back-off.ts'
import { Breaker } from './breaker.ts'
import { returnValue } from './ckr.ts'
import { Climb } from './climb.ts'
import { ConcurrencyLimit } from './concurrency-limit.ts'
import { FAILED_CALLS } from './frames.ts'
import { HostProcess } from './host-process.ts'
import { InFlight } from './in-flight.ts'
import { KeyProbes } from './key-probes.ts'
import type { KeyUse } from './key-use.ts'
import { Latency } from './latency.ts'
import { MemberKeys, type WantedKey } from './member-keys.ts'
import type { MemberMetrics } from './member-metrics.ts'
import { type ProblemMessage, problemError, type ReadyMessage, type RecoveringMessage } from './messages.ts'
import { OpeningLimit } from './opening-limit.ts'
import type { HsmOptions } from './options.ts'
import { type SignFailure, signFailureError } from './sign-failure.ts'
import type { Attempt } from './sign-job.ts'
import type { HsmStatus, MemberState } from './status.ts'
import { probeAttempt, testAttempts } from './test-attempts.ts'
import { type WrapFailure, type WrapMessage, WrapRequests, wrapFailureError } from './wrap-requests.ts'

export interface MemberOptions {
  readonly hsm: HsmOptions
  readonly keys: readonly WantedKey[]
  readonly entry: string
  /** A call that takes longer is taken for one that never ends, and the host is killed. */
  readonly hangMs: number
  readonly log: Log
  readonly metrics: MemberMetrics
  /** Its PIN as it is now was refused, by this host or one of another configuration: it must not be tried again. */
  readonly refusedPin: () => HsmError | undefined
  /** Told of every login and every test signature; those of connections are told by the key. */
  readonly onUse: (use: KeyUse) => void
  /** Signatures that wait may find more here than before: a free session, a member that is up, or one that never will be. */
  readonly onChange: (member: Member) => void
  /** It has come up, with keys and schemes that may differ from last time, or is up no more. */
  readonly onHealth: () => void
}

export class Member {
  readonly name: string
  readonly metrics: MemberMetrics
  readonly keys: MemberKeys
  readonly #options: MemberOptions
  readonly #latency = new Latency()
  readonly #breaker = new Breaker()
  readonly #limit = new ConcurrencyLimit()
  readonly #restartBackOff = new BackOff({ firstMs: 50, capMs: 500 })
  readonly #mistakeBackOff = new BackOff({ firstMs: 250, capMs: 2000 })
  readonly #restBackOff = new BackOff({ firstMs: 200, capMs: 800 })
  readonly #inFlight = new InFlight()
  readonly #wraps = new WrapRequests()
  readonly #openingLimit = new OpeningLimit()
  readonly #keyProbes = new KeyProbes((key) => this.#probe(key))
  #state: MemberState = 'down'
  #sinceMs = Date.now()
  #untilMs: number | undefined
  #timer: NodeJS.Timeout | undefined
  #host: HostProcess | undefined
  #climb: Climb | undefined
  /** This host has signed: if its signatures turn wrong, it may be its handles that are. */
  #wasUp = false
  #problem: HsmError | undefined
  #lastError: { readonly error: HsmError; readonly atMs: number } | undefined
  #token: HsmStatus['token']
  #sessions = { open: 0, limit: 0 }
  #testsToSend: Attempt[] = []
  #restarts = 0
  #tickedMs = 0
  /** What has been said of its trouble since it was up. */
  readonly #said = new Set<string>()
  #firstTryOver: (() => void) | undefined
  #closing: Promise<void> | undefined
  #hostGone: (() => void) | undefined

  constructor(options: MemberOptions) {
    this.name = options.hsm.name
    this.metrics = options.metrics
    this.keys = new MemberKeys(this.name, options.keys, options.onUse)
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
    const ofKeys = this.keys.errors()
    if (this.#state === 'up' || ofKeys.length > 0) return ofKeys
    return this.#lastError === undefined ? [] : [this.#lastError.error]
  }

  /** Why it does not sign with this key; undefined when it does, or nothing has gone wrong yet. */
  problem(key: number): HsmError | undefined {
    return this.isReady(key) ? undefined : (this.keys.error(key) ?? this.#problem ?? this.lastError)
  }

  /** In words, for people. */
  get condition(): string {
    return `hsm "${this.name}" is ${this.#state} since ${new Date(this.#sinceMs).toISOString()}`
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

  get lostAfterMs(): number {
    return this.#latency.lostAfterMs
  }

  get isUp(): boolean {
    return this.#state === 'up'
  }

  canSign(key: number, codePoint: number): boolean {
    return this.isReady(key) && this.keys.schemes(key).has(codePoint)
  }

  isReady(key: number): boolean {
    return this.#state === 'up' && this.keys.error(key) === undefined && this.keys.schemes(key).size > 0
  }

  get hasCapacity(): boolean {
    const { size, stuck } = this.#inFlight
    const places = Math.min(this.#limit.value, this.#sessions.limit - stuck)
    return size - stuck < places && !this.#limit.paused
  }

  /** Sends a sign request; the attempt is told its end exactly once, whatever becomes of the host. */
  send(attempt: Attempt, nowMs: number): void {
    const host = this.#host
    if (host === undefined) throw new Error(`member ${this.name} has no host`)
    attempt.sentAtMs = nowMs
    this.#limit.sent()
    host.sign(this.#inFlight.add(attempt), attempt.key, attempt.scheme, attempt.message)
  }

  /**
   * Wraps or unwraps ticket keys, if it is up; nothing waits for that here.
   *
   * @throws {HsmError}
   */
  wrap(message: WrapMessage, limitMs: number): Promise<Buffer> {
    const host = this.#host
    if (!this.isUp || host === undefined)
      return Promise.reject(this.lastError ?? this.#error('ERR_HSM_SESSION_LOST', `is ${this.#state}`))
    const beganMs = performance.now()
    const asked = this.#wraps.send({
      limitMs,
      send: (request) => host.wrap(request, message),
      late: () => {
        // It runs on the host's thread: nothing else is answered meanwhile either.
        if (this.#state === 'up' && this.#host === host)
          this.#kill(`the ticket keys took more than ${limitMs} ms`)
        return this.#error('ERR_HSM_SIGN_TIMEOUT', `did not ${message.direction} within ${limitMs} ms`)
      },
    })
    const tell = (result: 'ok' | HsmError['code']): void => {
      const { direction, header } = message
      const latencyMs = performance.now() - beganMs
      const uri = this.#wrappingKeyUri
      this.#options.onUse({ kind: 'wrap', direction, hsm: this.name, uri, header, result, latencyMs })
    }
    asked.then(
      () => tell('ok'),
      (error: unknown) => tell(error instanceof HsmError ? error.code : 'ERR_HSM_FAILED'),
    )
    return asked
  }

  hasAnsweredSince(nowMs: number): boolean {
    return this.#breaker.lastAnswerMs >= nowMs
  }

  /** A signature of this member is late, and another member was asked. */
  late(): void {
    this.metrics.hedges.inc()
    this.#breaker.late()
  }

  /** To be called every few milliseconds while anything is in flight. */
  tick(nowMs: number): void {
    this.metrics.inFlight.set(this.#inFlight.size)
    this.metrics.inFlightLimit.set(this.#limit.value)
    if (this.#limit.resume(nowMs)) this.#options.onChange(this)
    // Whatever had been answered by the last tick has been read by now, also when this process was held up in between.
    const readMs = this.#tickedMs
    this.#tickedMs = nowMs
    if (this.#state === 'up' && this.#breaker.isSilent(readMs))
      this.#rest(this.#error('ERR_HSM_SIGN_TIMEOUT', 'does not answer any more'))
    this.#killIfHung(readMs)
  }

  /** @param readMs what had been answered by then has been read. */
  #killIfHung(readMs: number): void {
    const oldestMs = this.#inFlight.oldestSentAtMs()
    if (oldestMs === undefined) return
    const { hangMs } = this.#options
    const silentMs = this.#silenceLimitMs
    if (readMs - oldestMs > hangMs) this.#kill(`a signature took more than ${hangMs} ms`)
    else if (readMs - Math.max(oldestMs, this.#breaker.lastAnswerMs) > silentMs)
      this.#kill(`nothing was answered for more than ${Math.round(silentMs)} ms`)
  }

  /** Half of the deadline, so that who waits has the other half for the next host; if that one is open soon enough. */
  get #silenceLimitMs(): number {
    const { hangMs } = this.#options
    const helps = this.#wasUp && this.#openingLimit.expectedMs <= hangMs / 4
    return helps ? Math.min(Math.max(hangMs / 2, this.lostAfterMs), hangMs) : hangMs
  }

  status(): HsmStatus {
    const last = this.#lastError
    return {
      name: this.name,
      state: this.#state,
      since: new Date(this.#sinceMs).toISOString(),
      until: this.#untilMs === undefined ? undefined : new Date(this.#untilMs).toISOString(),
      pid: this.#host?.pid,
      token: this.#token,
      sessions: { ...this.#sessions },
      inFlight: this.#inFlight.size,
      inFlightLimit: this.#limit.value,
      requestsPerSecond: this.#limit.perSecond,
      hedgeDelayMs: this.hedgeDelayMs,
      restarts: this.#restarts,
      recovery: this.#climb?.status(),
      lastError: last && {
        code: last.error.code,
        message: last.error.message,
        at: new Date(last.atMs).toISOString(),
      },
      keys: this.keys.status(this.#state === 'up', (key) => this.#keyProbes.untilMs(key)),
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
    const refused = this.#options.refusedPin()
    if (refused !== undefined) {
      this.#note(refused)
      this.#options.log.error(
        { hsm: this.name, code: refused.code },
        `${refused.message}; out of service until then`,
      )
      this.#enter('failed')
      this.#endFirstTry()
      this.#options.onChange(this)
      return
    }
    const limitMs = this.#openingLimit.ms
    this.#enter('starting', limitMs, () =>
      this.#killHung(`the module was not ready after ${Math.round(limitMs)} ms`),
    )
    this.#problem = undefined
    this.#wasUp = false
    try {
      this.#host = this.#startHost()
    } catch (error) {
      // Out of memory or processes: nothing that a later try could not find better.
      this.#exited(`could not be started: ${error instanceof Error ? error.message : String(error)}`)
    }
  }

  #startHost(): HostProcess {
    return new HostProcess({
      hsm: this.#options.hsm,
      keys: this.keys.messages,
      entry: this.#options.entry,
      log: this.#options.log,
      events: {
        ready: (message) => this.#ready(message),
        recovering: (message) => this.#recovering(message),
        problem: (problem) => this.#trouble(problem),
        signed: (request, seconds, signature) => this.#signed(request, seconds, signature),
        failed: (request, failure) => this.#failed(request, failure),
        sessions: (open, limit) => this.#setSessions(open, limit),
        wrapped: (request, body) => this.#wraps.answered(request, body),
        notWrapped: (request, failure) => this.#wraps.failed(request, this.#wrapFailed(failure)),
        lost: () => this.#lost(),
        exited: (how) => this.#exited(how),
      },
    })
  }

  #ready(message: ReadyMessage): void {
    if (this.#state !== 'starting' && this.#state !== 'recovering') return
    this.#token = message.token
    this.#openingLimit.opened(message.openingMs)
    if (message.loggedIn) {
      this.#options.onUse({ kind: 'login', hsm: this.name, token: message.token, result: 'ok' })
    }
    this.#limit.reset(performance.now())
    this.#setSessions(0, message.sessions)
    this.keys.opened(message.keys)
    this.#prove()
  }

  /** Up is who has just made a signature that the certificate's public key verifies; user traffic tries nothing out. */
  #prove(): void {
    this.#enter('proving')
    this.#inFlight.takeForStuck()
    this.#testsToSend = [...testAttempts(this.keys, () => this.#proved())]
    this.#sendTests()
    this.#options.onChange(this)
  }

  /** No more than there are sessions: many keys have many tests. */
  #sendTests(): void {
    while (this.#state === 'proving' && this.#inFlight.size < this.#sessions.limit) {
      const attempt = this.#testsToSend.shift()
      if (attempt === undefined) return
      this.send(attempt, performance.now())
    }
  }

  #proved(): void {
    if (this.#state !== 'proving') return
    const errors = this.keys.errors()
    // Without a key there is nothing to prove: nobody asks it for anything.
    if (errors.length < this.keys.count || this.keys.count === 0) {
      this.#up(errors)
      return
    }
    const error = errors[0] ?? this.#error('ERR_HSM_FAILED', 'has no key to sign with')
    // Keys are looked for when a token is opened; and a handle that was one key's may be another's after an outage.
    if (!this.keys.anyUsable || (this.#wasUp && error.code === 'ERR_HSM_BAD_SIGNATURE')) this.#retire(error)
    else {
      this.#rest(error)
      this.#endFirstTry()
    }
  }

  #up(keyErrors: readonly HsmError[]): void {
    this.#enter('up')
    this.#wasUp = true
    this.#breaker.reset(performance.now())
    this.metrics.up.set(1)
    this.#said.clear()
    this.#options.log.info({ hsm: this.name, pid: this.#host?.pid, ...this.#token }, 'hsm is up')
    for (const error of keyErrors) this.#note(error)
    for (const { message, code } of this.keys.unusable())
      this.#options.log.warn({ hsm: this.name, code }, message)
    for (const key of this.keys.aside) this.#setAside(key)
    this.#endFirstTry()
    this.#options.onChange(this)
  }

  /** With one key, which is set aside: the others are signed with meanwhile. */
  #probe(key: number): void {
    if (this.#state !== 'up') return
    const attempt = probeAttempt(this.keys, key, (good) => this.#probed(key, good))
    if (attempt === undefined) return
    this.send(attempt, performance.now())
    this.#options.onChange(this)
  }

  #probed(key: number, good: boolean): void {
    if (!good) {
      // Else it is tested with all others when the member comes up.
      if (this.#state === 'up') this.#keyProbes.failed(key)
      return
    }
    this.#keyProbes.signed(key)
    const { uri } = this.keys.wanted(key).message
    this.#options.log.info({ hsm: this.name, key: uri }, 'hsm signs with this key again')
    this.#options.onHealth()
  }

  /** It fails, and the member is up with others. */
  #setAside(key: number): void {
    const { uri } = this.keys.wanted(key).message
    const error = this.keys.error(key)
    this.#options.log.warn(
      { hsm: this.name, code: error?.code, key: uri },
      `${error?.message}; the key ${uri} is set aside in this HSM until a test signature succeeds`,
    )
    this.#keyProbes.failed(key)
  }

  #signed(request: number, hsmSeconds: number, signature: Uint8Array): void {
    const attempt = this.#inFlight.take(request)
    if (attempt === undefined) return
    const nowMs = performance.now()
    const { sentAtMs } = attempt
    this.#latency.record(nowMs - sentAtMs)
    this.#limit.answered({
      serviceMs: hsmSeconds * 1000,
      sentAtMs,
      nowMs,
      inFlight: this.#inFlight.size - this.#inFlight.stuck + 1,
    })
    if (attempt.succeeded(signature)) {
      this.#breaker.succeeded(nowMs)
      this.keys.signed(attempt.key, attempt.scheme)
      if (!attempt.test) this.metrics.signed(attempt.scheme, hsmSeconds)
    } else if (!attempt.test) {
      // One is enough: whatever makes wrong signatures must not make any more.
      this.metrics.failed(attempt.scheme, 'ERR_HSM_BAD_SIGNATURE')
      if (this.#state === 'up') this.#rest(this.#error('ERR_HSM_BAD_SIGNATURE', 'returned a wrong signature'))
    }
    this.#sendTests()
    this.#options.onChange(this)
  }

  #failed(request: number, failure: SignFailure): void {
    const attempt = this.#inFlight.take(request)
    if (attempt === undefined) return
    const error = signFailureError(this.name, failure)
    const { name, busy } = returnValue(failure.rv)
    if (failure.reason === 'call') this.metrics.callFailed(name)
    if (!attempt.test) this.metrics.failed(attempt.scheme, error.code)
    // What one scheme or one message cannot have says nothing of the others: clients choose the scheme, and must not
    // be able to open a breaker with it.
    const counts = error.code !== 'ERR_HSM_MECHANISM' && error.code !== 'ERR_HSM_REFUSED'
    const opens = this.#opensBreaker({ test: attempt.test, counts, busy })
    this.#note(error)
    if (this.#state === 'up' && opens) this.#rest(error)
    else if (
      this.#state === 'up' &&
      counts &&
      !busy &&
      !attempt.test &&
      this.keys.failed(attempt.key, error)
    ) {
      this.#setAside(attempt.key)
      this.#options.onHealth()
    } else if (this.#state === 'up' && error.code === 'ERR_HSM_MECHANISM' && !attempt.test)
      this.#refused(attempt, error)
    attempt.failed(error)
    this.#sendTests()
    this.#options.onChange(this)
  }

  /** It says that it cannot do what its test signature has shown: its policy has changed, or a handle is another object's. */
  #refused({ key, scheme }: Attempt, error: HsmError): void {
    const lost = this.keys.refused(key, scheme, error)
    if (lost === undefined) return
    if (lost === 'scheme') {
      const text = `${error.message}; it is not asked for ${scheme.name} with this key until it is opened anew`
      const { uri } = this.keys.wanted(key).message
      this.#options.log.warn({ hsm: this.name, code: error.code, key: uri, scheme: scheme.name }, text)
    } else if (this.keys.errors().length === this.keys.count) this.#retire(error)
    else this.#setAside(key)
    this.#options.onHealth()
  }

  get #wrappingKeyUri(): string {
    return this.#options.hsm.wrappingKey?.uri ?? ''
  }

  #wrapFailed(failure: WrapFailure): HsmError {
    if (failure.reason === 'call') this.metrics.callFailed(returnValue(failure.rv).name)
    return wrapFailureError(this.name, this.#wrappingKeyUri, failure)
  }

  /** A failed signature: @returns true when it is time to rest. */
  #opensBreaker({ test, counts, busy }: { test: boolean; counts: boolean; busy: boolean }): boolean {
    const nowMs = performance.now()
    if (busy) {
      this.metrics.throttled.inc()
      this.#limit.throttled(nowMs)
    }
    // One key that is set aside fails all its tests, and is no reason to do without the others.
    if (test) {
      this.#breaker.answered(nowMs)
      return false
    }
    return busy ? this.#breaker.busy(nowMs) : counts && this.#breaker.failed(nowMs)
  }

  #setSessions(open: number, limit: number): void {
    this.#sessions = { open, limit }
    this.metrics.sessions.set(open)
    this.#limit.setMax(limit)
    this.metrics.inFlightLimit.set(this.#limit.value)
  }

  /** Out of service for a while; then a test signature decides. */
  #rest(error: HsmError): void {
    if (Date.now() - this.#sinceMs > STEADY_MS) this.#restBackOff.reset()
    const restMs = this.#restBackOff.next()
    this.metrics.rested(error.code)
    this.#note(error)
    this.#log(error, { restMs: Math.round(restMs) }, `${error.message}; resting`)
    this.#enter('resting', restMs, () => this.#prove())
  }

  /** Ends the host in good order; what is in flight is lost at once, so that it can go elsewhere. */
  #retire(error: HsmError): void {
    this.#problem = error
    this.#enter('down')
    this.#host?.close()
  }

  /** The host heals what it can by itself, and is let alone meanwhile; then test signatures decide. */
  #recovering(message: RecoveringMessage): void {
    if (this.final || this.#state === 'down') return
    const error = problemError(this.name, message.problem)
    this.#note(error)
    this.metrics.climbed(message.rung)
    const { rv, call } = message.problem
    // What a signature failed with was counted with it.
    if (rv !== null && !FAILED_CALLS.some((known) => known === call))
      this.metrics.callFailed(returnValue(rv).name)
    const { rung, attempt } = message
    this.#log(error, { rung, attempt }, `${error.message}; recovering`)
    if (this.#climb === undefined) this.#climb = new Climb(message)
    else this.#climb.takes(message)
    const limitMs = this.#climb.limitMs(this.#openingLimit.ms)
    this.#enter('recovering', limitMs, () =>
      this.#killHung(`rung ${rung} of its recovery took more than ${Math.round(limitMs)} ms`),
    )
    this.#setSessions(0, this.#sessions.limit)
    this.#failInFlight('ERR_HSM_SESSION_LOST', 'the host recovers, with the signature in flight')
    this.#endFirstTry()
    this.#options.onChange(this)
  }

  #kill(reason: string): void {
    this.#problem = this.#error('ERR_HSM_HOST_EXITED', `host killed: ${reason}`)
    this.#enter('down')
    this.#host?.kill(reason)
  }

  /** While the token is opened, or part of that is done again. */
  #killHung(reason: string): void {
    this.#openingLimit.hung()
    this.#kill(reason)
  }

  #trouble(problem: ProblemMessage): void {
    this.#problem = problemError(this.name, problem)
    // Not so when the PIN's last try was left alone.
    if (problem.call === 'C_Login') {
      this.#options.onUse({ kind: 'login', hsm: this.name, token: undefined, result: problem.code })
    }
    if (problem.rv !== null) this.metrics.callFailed(returnValue(problem.rv).name)
    if (problem.final && this.#state !== 'closed') this.#enter('failed')
    this.#host?.close()
  }

  /** From here on nothing is answered: everything in flight goes back to who asked. */
  #lost(): void {
    if (!this.final) this.#enter('down')
    this.#setSessions(0, 0)
    this.#failInFlight('ERR_HSM_HOST_EXITED', 'the host process ended with the signature in flight')
    this.#options.onChange(this)
  }

  /** Whoever waits for one of them gets it elsewhere. */
  #failInFlight(code: ProblemMessage['code'], text: string): void {
    this.#wraps.failAll(this.#error(code, text))
    const attempts = this.#inFlight.takeAll()
    this.metrics.inFlight.set(0)
    if (attempts.length === 0) return
    const error = this.#error(code, text)
    for (const attempt of attempts) {
      if (!attempt.test) this.metrics.failed(attempt.scheme, error.code)
      attempt.failed(error)
    }
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
      this.#options.log.error(facts, `${error.message}; out of service until ${this.#cure()}`)
    } else {
      // What a person has to put right may take longer to be noticed than an HSM that is back.
      const backOff =
        MISTAKES.has(error.code) && error.rv === undefined ? this.#mistakeBackOff : this.#restartBackOff
      const delayMs = backOff.next()
      this.#log(error, { restartMs: Math.round(delayMs) }, error.message)
      this.#enter('down', delayMs, () => {
        this.#restarts++
        this.metrics.restarts.inc()
        this.metrics.climbed('host')
        this.#spawn()
      })
    }
    this.#endFirstTry()
    this.#options.onChange(this)
  }

  /** What makes it try again: the same PIN is never tried twice (refused-pins.ts). */
  #cure(): string {
    const { pin } = this.#options.hsm
    return 'file' in pin ? `${pin.file} has changed and a reload, or until restarted` : 'restarted'
  }

  #enter(state: MemberState, limitMs?: number, onLimit?: () => void): void {
    clearTimeout(this.#timer)
    this.#timer = limitMs === undefined || onLimit === undefined ? undefined : setTimeout(onLimit, limitMs)
    this.#untilMs = limitMs === undefined ? undefined : Date.now() + limitMs
    if (state === this.#state) return
    if (state !== 'recovering' && state !== 'proving') this.#climb = undefined
    if (state !== 'up') this.#keyProbes.pause()
    const healthChanges = this.#state === 'up' || state === 'up'
    if (this.#state === 'up') {
      this.metrics.up.set(0)
      if (Date.now() - this.#sinceMs > STEADY_MS) {
        this.#restartBackOff.reset()
        this.#mistakeBackOff.reset()
      }
    }
    this.#options.log.debug({ hsm: this.name, from: this.#state, to: state }, 'hsm state')
    this.#state = state
    this.#sinceMs = Date.now()
    this.metrics.entered(state)
    if (healthChanges || this.final) this.#options.onHealth()
  }

  #endFirstTry(): void {
    this.#firstTryOver?.()
    this.#firstTryOver = undefined
  }

  /** An HSM that is away for an hour is one line, not one for every try. */
  #log(error: HsmError, facts: object, text: string): void {
    const level = this.#said.has(error.message) ? 'debug' : 'warn'
    this.#said.add(error.message)
    this.#options.log[level]({ hsm: this.name, code: error.code, ...facts }, text)
  }

  #note(error: HsmError): void {
    this.#lastError = { error, atMs: Date.now() }
  }

  #error(code: ProblemMessage['code'], text: string): HsmError {
    return new HsmError(code, `hsm "${this.name}": ${text}`, { hsm: this.name })
  }
}

// Found out when a host starts, and seldom cured by time.
const MISTAKES: ReadonlySet<string> = new Set([
  'ERR_HSM_MODULE',
  'ERR_HSM_PIN',
  'ERR_HSM_KEY_NOT_FOUND',
  'ERR_HSM_KEY_MISMATCH',
])
// Up for this long: the next trouble is a new one.
const STEADY_MS = 10_000
