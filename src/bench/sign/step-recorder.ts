/** One step while it is measured: what ends within the window counts, and nothing before or after. */

import { Histogram } from '../histogram.ts'
import type { Step } from '../report/sign-report.ts'

export class StepRecorder {
  readonly #fromMs: number
  readonly #untilMs: number
  readonly #latency = new Histogram()
  readonly #slices = new Array<number>(SLICES).fill(0)
  readonly #errors = new Map<string, number>()

  /** Times on any clock, the same for all calls. */
  constructor(fromMs: number, untilMs: number) {
    this.#fromMs = fromMs
    this.#untilMs = untilMs
  }

  signed(startedAtMs: number, nowMs: number): void {
    if (nowMs < this.#fromMs || nowMs >= this.#untilMs) return
    this.#latency.record(nowMs - startedAtMs)
    const slice = Math.floor(((nowMs - this.#fromMs) / (this.#untilMs - this.#fromMs)) * SLICES)
    this.#slices[slice] = (this.#slices[slice] ?? 0) + 1
  }

  failed(what: string, nowMs: number): void {
    if (nowMs < this.#fromMs) return
    this.#errors.set(what, (this.#errors.get(what) ?? 0) + 1)
  }

  /** @param endedAtMs earlier than the window's end when the step was stopped. */
  step(sessions: number, endedAtMs: number, facts: Pick<Step, 'throttled' | 'inFlightLimit' | 'busy'>): Step {
    const seconds = Math.max(0, Math.min(endedAtMs, this.#untilMs) - this.#fromMs) / 1000
    const signatures = this.#latency.count
    const whole = endedAtMs >= this.#untilMs
    return {
      sessions,
      seconds,
      signatures,
      rate: seconds === 0 ? 0 : signatures / seconds,
      rateError: whole ? this.#rateError(seconds) : 0,
      latencyMs: this.#latency.summary(),
      errors: Object.fromEntries(this.#errors),
      ...facts,
    }
  }

  /** Of the mean of the slices' rates. */
  #rateError(seconds: number): number {
    const mean = this.#slices.reduce((sum, count) => sum + count, 0) / SLICES
    const squares = this.#slices.reduce((sum, count) => sum + (count - mean) ** 2, 0)
    const deviation = Math.sqrt(squares / (SLICES - 1))
    return (deviation / Math.sqrt(SLICES) / seconds) * SLICES
  }
}

const SLICES = 10
