/** What the front process holds, once a second: resident memory and descriptors. */

import { readFileSync } from 'node:fs'
import type { Sealgate } from '../../support/sealgate.ts'

export class ResourceSamples implements Disposable {
  readonly residentMiB: number[] = []
  readonly descriptors: number[] = []
  readonly #timer: NodeJS.Timeout

  constructor(sealgate: Sealgate) {
    this.#timer = setInterval(() => {
      this.residentMiB.push(residentMiB(sealgate.pid))
      this.descriptors.push(sealgate.descriptors().length)
    }, 1_000)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}

/** V8 lets it grow with the load, by tens of MiB and without giving them back: nothing to tell a leak from. */
export const YOUNG_GENERATION_OF_ONE_SIZE = { NODE_OPTIONS: '--max-semi-space-size=1' }

/** VmRSS of a process. */
export function residentMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1_024
}

export interface Flatness {
  /** The least in the second quarter of the time: everything has grown to its size by then. */
  readonly early: number
  /** The least in the last quarter. */
  readonly late: number
  readonly growth: number
}

/** The least, because bursts come and go (handshakes that wait while hosts restart), and a leak stays. */
export function flatness(samples: readonly number[]): Flatness {
  const quarter = Math.floor(samples.length / 4)
  const early = Math.min(...samples.slice(quarter, 2 * quarter))
  const late = Math.min(...samples.slice(-quarter))
  return { early: round(early), late: round(late), growth: round(late - early) }
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
