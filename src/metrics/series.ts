/**
 * Counters and histograms for what happens thousands of times a second: whoever counts holds a series, and counting is
 * an addition. prom-client checks the labels and makes a key of them each time; names, labels and samples are the same.
 *
 * They are read through `get()`, as `Registry.getMetricsAsJSON()` and so exposition.ts do. `Registry.metrics()` asks a
 * histogram another way, and does not see its series; `reset()` and `remove()` do not touch them.
 */

import {
  Counter,
  Histogram,
  type HistogramConfiguration,
  type LabelValues,
  type MetricObjectWithValues,
  type MetricValue,
  type MetricValueWithName,
} from 'prom-client'

export class SeriesCounter<T extends string> extends Counter<T> {
  readonly #series = new Map<string, CounterSeries<T>>()

  /** The one series of these labels. */
  series(labels: LabelValues<T>): CounterSeries<T> {
    return heldSeries(this.#series, labels, () => new CounterSeries(labels))
  }

  override async get(): Promise<MetricObjectWithValues<MetricValue<T>>> {
    const metric = await super.get()
    const counted = [...this.#series.values()].filter(({ value }) => value > 0)
    const values = counted.map(({ labels, value }) => ({ labels, value }))
    return { ...metric, values: [...metric.values, ...values] }
  }
}

export class CounterSeries<T extends string> {
  readonly labels: LabelValues<T>
  value = 0

  constructor(labels: LabelValues<T>) {
    this.labels = labels
  }

  inc(): void {
    this.value += 1
  }
}

export class SeriesHistogram<T extends string> extends Histogram<T> {
  readonly #name: string
  readonly #bounds: readonly number[]
  readonly #series = new Map<string, HistogramSeries<T>>()

  constructor(options: HistogramConfiguration<T> & { readonly buckets: number[] }) {
    super(options)
    this.#name = options.name
    this.#bounds = options.buckets
  }

  /** The one series of these labels. */
  series(labels: LabelValues<T>): HistogramSeries<T> {
    return heldSeries(this.#series, labels, () => new HistogramSeries(labels, this.#bounds))
  }

  override async get(): Promise<MetricObjectWithValues<MetricValueWithName<T>>> {
    const metric = await super.get()
    const values = [...this.#series.values()].flatMap((series) => series.samples(this.#name))
    return { ...metric, values: [...metric.values, ...values] }
  }
}

export class HistogramSeries<T extends string> {
  readonly #labels: LabelValues<T>
  readonly #bounds: readonly number[]
  /** Per bucket, not cumulative; the last one is +Inf. */
  readonly #counts: Float64Array
  #sum = 0

  /** @param bounds ascending. */
  constructor(labels: LabelValues<T>, bounds: readonly number[]) {
    this.#labels = labels
    this.#bounds = bounds
    this.#counts = new Float64Array(bounds.length + 1)
  }

  /** @param value finite. */
  observe(value: number): void {
    let bucket = 0
    while (value > (this.#bounds[bucket] ?? Number.POSITIVE_INFINITY)) bucket += 1
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1
    this.#sum += value
  }

  /** Prometheus buckets are cumulative: `le` counts everything up to its bound. Empty before the first `observe`. */
  samples(name: string): MetricValueWithName<T>[] {
    let total = 0
    const buckets = [...this.#counts].map((count, index) => {
      total += count
      const labels = { ...this.#labels, le: this.#bounds[index] ?? '+Inf' }
      return { metricName: `${name}_bucket`, labels, value: total }
    })
    if (total === 0) return []
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels: this.#labels, value: this.#sum },
      { metricName: `${name}_count`, labels: this.#labels, value: total },
    ]
  }
}

function heldSeries<S>(all: Map<string, S>, labels: object, make: () => S): S {
  const key = JSON.stringify(Object.entries(labels).sort())
  const known = all.get(key)
  if (known !== undefined) return known
  const made = make()
  all.set(key, made)
  return made
}
