/**
 * Opens the token, and heals what breaks later, rung by rung (ladder.ts says which).
 *
 * # What runs when
 *
 * One climb at a time, however many signatures fail at once: the first error suspends the signer, which fails everything
 * it has with a retryable error, and then nobody asks until the climb is over. A rung begins when no C_Sign is left in
 * the module, after a pause that grows with every rung and has jitter, so that neither many failures nor many
 * proxies fall upon an HSM that has just come back. A rung's calls block this thread; how long one may
 * take is for the front process to watch, since nothing in here could.
 */

import { BackOff } from '../back-off.ts'
import { type Rung, returnValue } from '../ckr.ts'
import type { ConfigureMessage, ReadyMessage, RecoveringMessage } from '../messages.ts'
import { type OpenedKey, openKey, refuseSharedKeys } from './key-objects.ts'
import { KeysAside } from './keys-aside.ts'
import { Ladder } from './ladder.ts'
import { Login } from './login.ts'
import { OpeningHiccups } from './opening-hiccups.ts'
import { Pkcs11Error, type Pkcs11Module } from './pkcs11.ts'
import { Problem, problemMessage } from './problem.ts'
import { type Answers, Signer } from './signer.ts'
import { loadModule, openToken, renewSession, type Token } from './token.ts'
import { type WrapAnswers, Wrapper } from './wrapper.ts'

export interface RecoveryEvents {
  ready(message: ReadyMessage): void
  /** To be told before this returns: a rung may block for long. */
  recovering(message: RecoveringMessage): void
  /** Nothing in this process helps any more. */
  giveUp(error: unknown): void
}

export class Recovery {
  readonly module: Pkcs11Module
  readonly signer: Signer
  readonly wrapper: Wrapper
  readonly #options: ConfigureMessage
  readonly #events: RecoveryEvents
  readonly #login: Login
  readonly #ladder = new Ladder()
  readonly #aside = new KeysAside()
  readonly #pause = new BackOff({ firstMs: 25, capMs: 500 })
  readonly #hiccupsOfOpening = new OpeningHiccups()
  #token: Token | undefined
  #keys: readonly OpenedKey[] = []
  #state: 'opening' | 'signing' | 'climbing' | 'given-up' = 'opening'
  /** Times in a row that keys could not be looked for properly. */
  #hiccups = 0
  /** C_Initialize was called. */
  #started = false
  #doneAtMs = 0
  #openingMs = 0

  /** @throws {Problem} when the module does not load. */
  constructor(options: ConfigureMessage, answers: Answers & WrapAnswers, events: RecoveryEvents) {
    this.#options = options
    this.#events = events
    this.#login = new Login(options)
    this.module = loadModule(options.module)
    this.signer = new Signer(
      answers,
      {
        succeeded: (key) => {
          this.#ladder.succeeded()
          this.#aside.signed(key)
        },
        failed: (error, key) => this.#signatureFailed(error, key),
      },
      this.#login,
    )
    this.wrapper = new Wrapper(options.wrappingKey, answers, (error) => this.#signatureFailed(error))
  }

  /** Opens the token for the first time. What fails is climbed from, like what fails later. */
  open(): void {
    if (this.#state === 'given-up') return
    try {
      this.#reopen()
    } catch (error) {
      const pauseMs = this.#hiccupsOfOpening.pauseAfter(error)
      if (pauseMs !== undefined) setTimeout(() => this.open(), pauseMs)
      else this.#climb(this.#ladder.failed('module', performance.now()) ?? 'module', error)
      return
    }
    this.#done()
  }

  /** Nothing is begun any more. */
  stop(): void {
    this.#state = 'given-up'
  }

  /** @param key that it was asked for; undefined: the wrapping key. */
  #signatureFailed(error: Pkcs11Error, key?: number): void {
    if (this.#state !== 'signing') return
    const { action, busy } = returnValue(error.rv)
    if (action === 'fail-over') return
    const nowMs = performance.now()
    if (key !== undefined && this.#isItsOwn(key, nowMs)) return
    // A fresh session has said it again (signer.ts): it is throttled (CKR_OPERATION_ACTIVE of CloudHSM), unless it lasts.
    const rung = this.#ladder.failed(busy ? 'if-lasting' : action, nowMs)
    if (rung !== undefined) this.#climb(rung, error)
  }

  /** Does the trouble concern this key alone? */
  #isItsOwn(key: number, nowMs: number): boolean {
    const usable = this.#keys.flatMap((opened, index) => (opened.key === undefined ? [] : [index]))
    return this.#aside.failed(key, { climbed: this.#ladder.climbed(nowMs), usable })
  }

  #climb(rung: Rung, cause: unknown): void {
    if (this.#state === 'given-up') return
    this.#state = 'climbing'
    if (performance.now() - this.#doneAtMs > STEADY_MS) this.#pause.reset()
    const problem = problemMessage(cause)
    // A second C_Login with a PIN that nobody knows to be right is not ours to make.
    if (rung === 'host' || problem.final || this.#login.spent) {
      this.stop()
      this.#events.giveUp(cause)
      return
    }
    // Told first: what the signer now fails is not to come back here.
    this.#events.recovering({ rung, attempt: this.#ladder.attempts, problem })
    this.signer.suspend()
    this.wrapper.suspend()
    setTimeout(() => this.#run(rung), this.#pause.next())
  }

  async #run(rung: Exclude<Rung, 'host'>): Promise<void> {
    if (!(await this.signer.quiet(QUIET_LIMIT_MS))) {
      this.#climb('host', new Problem('ERR_HSM_FAILED', `C_Sign has not returned for ${QUIET_LIMIT_MS} ms`))
      return
    }
    if (this.#state !== 'climbing') return
    try {
      this.#take(rung)
    } catch (error) {
      this.#climb(this.#ladder.next(performance.now()), error)
      return
    }
    this.#done()
  }

  /** @throws {Problem | Pkcs11Error} when it could not be done; the next one may. */
  #take(rung: Exclude<Rung, 'host'>): void {
    const token = this.#token
    if (rung === 'module' || token === undefined) {
      this.#reopen()
      return
    }
    this.signer.closeSessions()
    const fresh = renewSession(token)
    this.#token = fresh
    // A rung does what those below it do, as far as it is needed; a new login makes the handles of before invalid.
    const needsLogin = rung === 'login' || !token.module.isUserSession(fresh.session)
    const loggedIn = needsLogin && this.#login.perform(token.module, token.slot, fresh.session)
    if (rung === 'keys' || loggedIn) this.#findKeys(fresh)
  }

  #reopen(): void {
    if (this.#started) this.#finalize()
    this.#started = true
    this.#token = undefined
    const beganMs = performance.now()
    const token = openToken(this.module, this.#options, this.#login)
    this.#findKeys(token)
    this.#openingMs = Math.round(performance.now() - beganMs)
    this.#token = token
  }

  #finalize(): void {
    try {
      this.module.finalize()
    } catch (error) {
      // Not initialised, or not willing: C_Initialize will say.
      if (!(error instanceof Pkcs11Error)) throw error
    }
  }

  /** The public keys are compared again: a handle is no proof of what is behind it. */
  #findKeys(token: Token): void {
    const keys = this.#options.keys.map((key) => openKey(token, key))
    const hiccup = keys.find((key) => key.hiccup !== undefined)?.hiccup
    // Whoever is not found now is not looked for again while the host lives.
    if (hiccup !== undefined && ++this.#hiccups < MAX_HICCUPS) throw hiccup
    this.#hiccups = 0
    refuseSharedKeys(keys.map(({ key }) => key))
    const [first] = keys
    const hadSome = this.#keys.some(({ key }) => key !== undefined)
    if (hadSome && first?.state.problem && keys.every(({ key }) => key === undefined)) {
      throw new Problem(first.state.problem.code, first.state.problem.message)
    }
    this.#keys = keys
  }

  #done(): void {
    const token = this.#token
    if (token === undefined || this.#state === 'given-up') return
    this.#doneAtMs = performance.now()
    this.#ladder.done(this.#doneAtMs)
    this.#state = 'signing'
    this.wrapper.resume(token)
    this.signer.resume(
      token,
      this.#keys.map(({ key }) => key),
    )
    this.#events.ready({
      token: { label: token.label, serial: token.serial },
      loggedIn: this.#login.takeAccepted(),
      openingMs: this.#openingMs,
      sessions: token.sessionLimit,
      keys: this.#keys.map(({ state }) => state),
    })
  }
}

// A key that fails like this each time is one that cannot be used, and no reason to do without the others.
const MAX_HICCUPS = 3
// Longer than a healthy C_Sign, shorter than the front process waits for a rung.
const QUIET_LIMIT_MS = 2000
// Without trouble for this long, the next one is a new one.
const STEADY_MS = 10_000
