/** The metrics of one key. Two certificates may have the same one: what waits for both is added up. */

import type { Metrics } from '../metrics/metrics.ts'

export class KeyMetrics {
  readonly membersReady: { set(value: number): void }
  readonly #waiting: { inc(value: number): void }
  #waitingShown = 0

  /** @param uri as configured. */
  constructor(metrics: Metrics, uri: string) {
    this.membersReady = metrics.keyMembersReady.labels(uri)
    this.#waiting = metrics.signsWaiting.labels(uri)
    this.#waiting.inc(0)
  }

  /** So many wait now. */
  waiting(count: number): void {
    if (count === this.#waitingShown) return
    this.#waiting.inc(count - this.#waitingShown)
    this.#waitingShown = count
  }
}
