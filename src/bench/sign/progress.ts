/** What is seen of a measurement while it runs: a table that grows, and below it, on a terminal, a line that changes. */

import { formatSeconds, sessionsText } from '../numbers.ts'
import type { Series, Step } from '../report/sign-report.ts'
import { endText, headText, STEP_HEADER, stepText } from '../report/text.ts'
import type { SeriesHead, SignBenchEvents } from './run.ts'

export interface ProgressOptions {
  readonly out: (text: string) => void
  /** undefined: nobody looks, and only whole lines are printed. */
  readonly status: ((text: string) => void) | undefined
  readonly secondsPerStep: number
  /** Ladders to be climbed, as far as it is known beforehand. */
  readonly expectedSeries: number
}

export class SignProgress implements SignBenchEvents {
  readonly #options: ProgressOptions
  #ladder: readonly number[] = []
  #head: SeriesHead | undefined
  #stepsDone = 0
  #finishedSeries = 0
  #finishedSteps = 0
  #shown = false

  constructor(options: ProgressOptions) {
    this.#options = options
  }

  seriesStarted(head: SeriesHead, ladder: readonly number[]): void {
    this.#ladder = ladder
    this.#head = head
    this.#stepsDone = 0
    this.#print(`\n${headText(head)}\n${STEP_HEADER}\n`)
  }

  stepStarted(sessions: number): void {
    const left = this.#secondsLeft()
    this.#show(`${this.#head?.scheme ?? ''}: ${sessionsText(sessions)} … about ${formatSeconds(left)} left`)
  }

  stepEnded(step: Step): void {
    this.#stepsDone++
    this.#print(`${stepText(step)}\n`)
  }

  seriesEnded(series: Series): void {
    this.#finishedSeries++
    this.#finishedSteps += series.steps.length
    this.#print(`${endText(series)}\n`)
  }

  note(text: string): void {
    this.#print(`not measured: ${text}\n`)
  }

  /** Takes the changing line away. */
  end(): void {
    if (this.#shown) this.#options.status?.(CLEAR_LINE)
    this.#shown = false
  }

  /** Ladders end at the knee, so those to come are taken to be as long as those before. */
  #secondsLeft(): number {
    const typical =
      this.#finishedSeries === 0 ? this.#ladder.length : this.#finishedSteps / this.#finishedSeries
    const here = Math.max(
      1,
      Math.min(this.#ladder.length, Math.max(typical, this.#stepsDone + 1)) - this.#stepsDone,
    )
    const later = Math.max(0, this.#options.expectedSeries - this.#finishedSeries - 1) * typical
    return (here + later) * this.#options.secondsPerStep
  }

  #show(text: string): void {
    if (this.#options.status === undefined) return
    this.#options.status(`${CLEAR_LINE}${text}`)
    this.#shown = true
  }

  #print(text: string): void {
    this.end()
    this.#options.out(text)
  }
}

const CLEAR_LINE = '\r\x1b[K'
