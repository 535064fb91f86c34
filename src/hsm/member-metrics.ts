/** The metrics of one member, with their label sets looked up once: several are touched for every handshake. */

import type { Metrics } from '../metrics/metrics.ts'
import type { SignatureScheme, SignatureSchemeName } from '../signing.ts'
import type { MemberState } from './status.ts'

interface SchemeMetrics {
  readonly ok: { inc(): void }
  readonly signSeconds: { observe(seconds: number): void }
  readonly waitSeconds: { observe(seconds: number): void }
}

export class MemberMetrics {
  readonly up: { set(value: number): void }
  readonly sessions: { set(value: number): void }
  readonly inFlight: { set(value: number): void }
  readonly inFlightLimit: { set(value: number): void }
  readonly throttled: { inc(): void }
  readonly restarts: { inc(): void }
  readonly hedges: { inc(): void }
  readonly #metrics: Metrics
  readonly #hsm: string
  #state: MemberState | undefined
  readonly #schemes = new Map<SignatureSchemeName, SchemeMetrics>()

  constructor(metrics: Metrics, hsm: string) {
    this.#metrics = metrics
    this.#hsm = hsm
    this.up = metrics.hsmUp.labels(hsm)
    this.sessions = metrics.hsmSessions.labels(hsm)
    this.inFlight = metrics.signsInFlight.labels(hsm)
    this.inFlightLimit = metrics.signsInFlightLimit.labels(hsm)
    this.throttled = metrics.hsmThrottled.labels(hsm)
    this.restarts = metrics.hsmRestarts.labels(hsm)
    this.hedges = metrics.signHedges.labels(hsm, 'slow')
    this.entered('down')
    this.up.set(0)
    this.sessions.set(0)
    this.inFlight.set(0)
    this.inFlightLimit.set(0)
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
    const { hsmState, hsmStateSince } = this.#metrics
    if (this.#state !== undefined) hsmState.labels(this.#hsm, this.#state).set(0)
    hsmState.labels(this.#hsm, state).set(1)
    hsmStateSince.labels(this.#hsm).set(Date.now() / 1000)
    this.#state = state
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

  #of(scheme: SignatureScheme): SchemeMetrics {
    let found = this.#schemes.get(scheme.name)
    if (found === undefined) {
      found = {
        ok: this.#metrics.signatures.labels(this.#hsm, scheme.name, 'ok'),
        signSeconds: this.#metrics.signSeconds.labels(this.#hsm, scheme.name),
        waitSeconds: this.#metrics.signWaitSeconds.labels(this.#hsm, scheme.name),
      }
      this.#schemes.set(scheme.name, found)
    }
    return found
  }
}
