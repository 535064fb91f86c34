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

/** VmRSS of a process. */
export function residentMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1_024
}

export interface Flatness {
  /** Median of the second quarter of the time: everything has grown to its size by then. */
  readonly early: number
  /** Median of the last quarter. */
  readonly late: number
  readonly growth: number
}

export function flatness(samples: readonly number[]): Flatness {
  const quarter = Math.floor(samples.length / 4)
  const early = median(samples.slice(quarter, 2 * quarter))
  const late = median(samples.slice(-quarter))
  return { early: round(early), late: round(late), growth: round(late - early) }
}

function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
