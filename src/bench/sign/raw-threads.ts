/** The threads of the raw measurement: made when a step wants more, kept for the next one. */

import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

import type { RawAnswer, RawOrder, RawThreadData } from './raw-messages.ts'
import type { StepState } from './step-recorder.ts'

export class RawThreads {
  readonly #data: RawThreadData
  readonly #workers: Worker[] = []

  constructor(data: RawThreadData) {
    this.#data = data
  }

  /** Resolves when so many have loaded the module. */
  async grow(count: number): Promise<void> {
    while (this.#workers.length < count) {
      const worker = new Worker(new URL('./raw-thread.js', import.meta.url), {
        workerData: this.#data,
        resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 4 },
      })
      this.#workers.push(worker)
      await once(worker, 'message')
    }
  }

  /** All of them sign at once. @returns when the last has ended. */
  perform(count: number, order: RawOrder): Promise<readonly StepState[]> {
    return Promise.all(
      this.#workers.slice(0, count).map(async (worker) => {
        const answered = once(worker, 'message')
        worker.postMessage(order)
        const [answer]: RawAnswer[] = await answered
        if (answer?.kind !== 'done') throw new Error('a thread has answered something else')
        return answer.state
      }),
    )
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()))
  }
}
