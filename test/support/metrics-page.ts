/** A page of metrics in the Prometheus text format, read by name and labels. */

export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export class MetricsPage {
  readonly samples: readonly Sample[]

  constructor(text: string) {
    this.samples = [...text.matchAll(SAMPLE)].map(([, name = '', labels = '', value]) => ({
      name,
      labels: Object.fromEntries([...labels.matchAll(LABEL)].map(([, key, text]) => [key, text])),
      value: Number(value),
    }))
  }

  /** All samples of that name that have these labels, added up; 0 when there is none. */
  sum(name: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.samples
      .filter((sample) => sample.name === name)
      .filter((sample) => Object.entries(labels).every(([key, value]) => sample.labels[key] === value))
      .reduce((sum, { value }) => sum + value, 0)
  }
}

const SAMPLE = /^(\w+)(?:\{(.*)\})? (\S+)$/gm
const LABEL = /(\w+)="([^"]*)"/g
