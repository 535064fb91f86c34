/**
 * Latencies, counted in buckets that are at most 0.8 % wide: a run of any length in 15 KB, and sums of many processes.
 *
 * Units are tenths of a microsecond. Up to 128 of them each has a bucket of its own; above, every power of two has
 * 128, as in Gil Tene's HdrHistogram.
 */

export interface LatencySummary {
  /** Milliseconds, as everything here. */
  readonly mean: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly max: number
}

export class Histogram {
  readonly #counts = new Uint32Array(BUCKETS)
  #sumMs = 0
  #maxMs = 0
  #count = 0

  get count(): number {
    return this.#count
  }

  get meanMs(): number {
    return this.#count === 0 ? 0 : this.#sumMs / this.#count
  }

  get maxMs(): number {
    return this.#maxMs
  }

  record(ms: number): void {
    const index = bucketOf(ms)
    this.#counts[index] = (this.#counts[index] ?? 0) + 1
    this.#count++
    this.#sumMs += ms
    if (ms > this.#maxMs) this.#maxMs = ms
  }

  add(other: HistogramState): void {
    for (const [index, count] of other.counts) this.#counts[index] = (this.#counts[index] ?? 0) + count
    this.#count += other.count
    this.#sumMs += other.sumMs
    this.#maxMs = Math.max(this.#maxMs, other.maxMs)
  }

  /** For another process or thread: plain values, and only the buckets that are used. */
  state(): HistogramState {
    const counts: [number, number][] = []
    for (const [index, count] of this.#counts.entries()) if (count > 0) counts.push([index, count])
    return { counts, count: this.#count, sumMs: this.#sumMs, maxMs: this.#maxMs }
  }

  /** @param share 0 to 1. @returns the value that so many do not exceed; 0 when there are none. */
  percentile(share: number): number {
    const wanted = Math.max(1, Math.ceil(share * this.#count))
    let seen = 0
    for (const [index, count] of this.#counts.entries()) {
      seen += count
      if (count > 0 && seen >= wanted) return Math.min(middleMs(index), this.#maxMs)
    }
    return 0
  }

  summary(): LatencySummary {
    return {
      mean: this.meanMs,
      p50: this.percentile(0.5),
      p90: this.percentile(0.9),
      p99: this.percentile(0.99),
      max: this.#maxMs,
    }
  }
}

export interface HistogramState {
  /** Bucket and count, of those that are not empty. */
  readonly counts: readonly (readonly [number, number])[]
  readonly count: number
  readonly sumMs: number
  readonly maxMs: number
}

function bucketOf(ms: number): number {
  const units = Math.min(Math.max(0, Math.round(ms * UNITS_PER_MS)), MAX_UNITS)
  if (units < PER_OCTAVE) return units
  const octave = 31 - Math.clz32(units) - OCTAVE_BITS
  return (octave + 1) * PER_OCTAVE + ((units >>> octave) - PER_OCTAVE)
}

function middleMs(index: number): number {
  if (index < PER_OCTAVE) return index / UNITS_PER_MS
  const octave = Math.floor(index / PER_OCTAVE) - 1
  const low = (PER_OCTAVE + (index % PER_OCTAVE)) * 2 ** octave
  return (low + 2 ** octave / 2) / UNITS_PER_MS
}

const UNITS_PER_MS = 10_000
const OCTAVE_BITS = 7
const PER_OCTAVE = 2 ** OCTAVE_BITS
// 429 s: nobody waits for a signature that long.
const MAX_UNITS = 0xffff_ffff
const BUCKETS = PER_OCTAVE * (32 - OCTAVE_BITS + 1)
