/** The metrics of one member, with their label sets looked up once: several are touched for every handshake. */

import type { Metrics } from '../metrics/metrics.ts'
import type { SignatureScheme, SignatureSchemeName } from '../signing.ts'
import { type Settable, ShownGauges } from './shown-gauges.ts'
import type { MemberState } from './status.ts'

interface SchemeMetrics {
  readonly ok: { inc(): void }
  readonly signSeconds: { observe(seconds: number): void }
  readonly waitSeconds: { observe(seconds: number): void }
}

export class MemberMetrics {
  readonly up: Settable
  readonly sessions: Settable
  readonly inFlight: Settable
  readonly inFlightLimit: Settable
  readonly throttled: { inc(): void }
  readonly restarts: { inc(): void }
  readonly hedges: { inc(): void }
  readonly #metrics: Metrics
  readonly #hsm: string
  readonly #gauges = new ShownGauges()
  #state: MemberState = 'down'
  #since = Date.now() / 1000
  /** States that have been shown. */
  readonly #entered = new Set<MemberState>()
  readonly #schemes = new Map<SignatureSchemeName, SchemeMetrics>()

  /** Its gauges are not seen before `show()`; its counters are added to those of the name. */
  constructor(metrics: Metrics, hsm: string) {
    this.#metrics = metrics
    this.#hsm = hsm
    this.up = this.#gauges.of(metrics.hsmUp.labels(hsm))
    this.sessions = this.#gauges.of(metrics.hsmSessions.labels(hsm))
    this.inFlight = this.#gauges.of(metrics.signsInFlight.labels(hsm))
    this.inFlightLimit = this.#gauges.of(metrics.signsInFlightLimit.labels(hsm))
    this.throttled = metrics.hsmThrottled.labels(hsm)
    this.restarts = metrics.hsmRestarts.labels(hsm)
    this.hedges = metrics.signHedges.labels(hsm, 'slow')
    for (const gauge of [this.up, this.sessions, this.inFlight, this.inFlightLimit]) gauge.set(0)
  }

  /** The member is the one of its name. Idempotent. */
  show(): void {
    this.#gauges.show()
    this.#showState()
  }

  /** Another member has its name from now on, or nobody. */
  hide(): void {
    if (!this.#gauges.shown) return
    this.#gauges.hide()
    const { hsmUp, hsmSessions, hsmState, hsmStateSince, signsInFlight, signsInFlightLimit } = this.#metrics
    for (const gauge of [hsmUp, hsmSessions, hsmStateSince, signsInFlight, signsInFlightLimit])
      gauge.remove(this.#hsm)
    for (const state of this.#entered) hsmState.remove(this.#hsm, state)
  }

  signed(scheme: SignatureScheme, hsmSeconds: number): void {
    const { ok, signSeconds } = this.#of(scheme)
    ok.inc()
    signSeconds.observe(hsmSeconds)
  }

  waited(scheme: SignatureScheme, seconds: number): void {
    this.#of(scheme).waitSeconds.observe(seconds)
  }

  failed(scheme: SignatureScheme, code: string): void {
    this.#metrics.signatures.labels(this.#hsm, scheme.name, code).inc()
  }

  retried(code: string): void {
    this.#metrics.signRetries.labels(this.#hsm, code).inc()
  }

  entered(state: MemberState): void {
    this.#state = state
    this.#since = Date.now() / 1000
    this.#showState()
  }

  /** The breaker has opened. */
  rested(code: string): void {
    this.#metrics.hsmRests.labels(this.#hsm, code).inc()
  }

  /** A test signature has ended. @param result ok or the error code. */
  tested(result: string): void {
    this.#metrics.hsmTests.labels(this.#hsm, result).inc()
  }

  /** @param result ok or the error code. */
  loggedIn(result: string): void {
    this.#metrics.hsmLogins.labels(this.#hsm, result).inc()
  }

  climbed(rung: string): void {
    this.#metrics.hsmRecoveries.labels(this.#hsm, rung).inc()
  }

  callFailed(rvName: string): void {
    this.#metrics.hsmErrors.labels(this.#hsm, rvName).inc()
  }

  #showState(): void {
    if (!this.#gauges.shown) return
    const { hsmState, hsmStateSince } = this.#metrics
    this.#entered.add(this.#state)
    for (const state of this.#entered) hsmState.labels(this.#hsm, state).set(state === this.#state ? 1 : 0)
    hsmStateSince.labels(this.#hsm).set(this.#since)
  }

  #of(scheme: SignatureScheme): SchemeMetrics {
    let found = this.#schemes.get(scheme.name)
    if (found === undefined) {
      const labels = { hsm: this.#hsm, scheme: scheme.name }
      found = {
        ok: this.#metrics.signatures.series({ ...labels, result: 'ok' }),
        signSeconds: this.#metrics.signSeconds.series(labels),
        waitSeconds: this.#metrics.signWaitSeconds.series(labels),
      }
      this.#schemes.set(scheme.name, found)
    }
    return found
  }
}
