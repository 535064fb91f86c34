/** The metrics of one key. Two certificates may have the same one: what waits for both is added up. */

import type { Metrics } from '../metrics/metrics.ts'
import { type Settable, ShownGauges } from './shown-gauges.ts'

export class KeyMetrics {
  readonly membersReady: Settable
  readonly abandoned: { inc(): void }
  readonly #metrics: Metrics
  readonly #uri: string
  readonly #gauges = new ShownGauges()
  readonly #waiting: { inc(value: number): void }
  #waitingShown = 0

  /** @param uri as configured. Its gauges are not seen before `show()`. */
  constructor(metrics: Metrics, uri: string) {
    this.#metrics = metrics
    this.#uri = uri
    this.membersReady = this.#gauges.of(metrics.keyMembersReady.labels(uri))
    this.abandoned = metrics.signsAbandoned.labels(uri)
    this.#waiting = metrics.signsWaiting.labels(uri)
    this.#waiting.inc(0)
  }

  /** Idempotent. */
  show(): void {
    this.#gauges.show()
  }

  /** The key is not one of the configuration any more. */
  hide(): void {
    this.#gauges.hide()
    this.#metrics.keyMembersReady.remove(this.#uri)
  }

  /** So many wait now. */
  waiting(count: number): void {
    if (count === this.#waitingShown) return
    this.#waiting.inc(count - this.#waitingShown)
    this.#waitingShown = count
  }
}
