/** What is counted of shared ticket keys. */

import type { Metrics } from '../metrics/metrics.ts'
import type { Dates, KeySet } from './key-set.ts'

export class TicketMetrics {
  readonly #metrics: Metrics

  constructor(metrics: Metrics) {
    this.#metrics = metrics
  }

  /** @param first what makes tickets; undefined: the node's own does. */
  show(set: KeySet | undefined, first: Dates | undefined, valid: number, nowMs: number): void {
    const { ticketKeys, ticketKeysInUse, ticketKeySince, ticketKeyNext } = this.#metrics
    ticketKeys.set({ source: 'shared' }, valid)
    ticketKeysInUse.set({ source: 'shared' }, first === undefined ? 0 : 1)
    ticketKeysInUse.set({ source: 'local' }, first === undefined ? 1 : 0)
    ticketKeySince.set({ source: 'shared' }, (first?.fromMs ?? 0) / 1000)
    const nextMs = set?.keys.findLast(({ fromMs }) => fromMs > nowMs)?.fromMs ?? 0
    ticketKeyNext.set({ source: 'shared' }, nextMs / 1000)
  }

  rotated(): void {
    this.#metrics.ticketRotations.inc()
  }

  failed(reason: string): void {
    this.#metrics.ticketErrors.labels(reason).inc()
  }
}
