import { expect, test } from 'vitest'
import { Histogram } from '../../../src/bench/histogram.ts'

test('percentiles are within one percent of those of the sorted values', () => {
  const histogram = new Histogram()
  const values = Array.from({ length: 10_000 }, (_, index) => 0.01 * 1.001 ** index)
  for (const value of values) histogram.record(value)

  for (const share of [0.5, 0.9, 0.99, 0.999]) {
    const exact = values[Math.ceil(share * values.length) - 1] ?? 0
    expect(Math.abs(histogram.percentile(share) / exact - 1)).toBeLessThan(0.01)
  }
  expect(histogram.summary().max).toBe(values.at(-1))
})

test('what many processes have counted is the same as what one would have', () => {
  const one = new Histogram()
  const parts = [new Histogram(), new Histogram(), new Histogram()]
  for (let index = 0; index < 3000; index++) {
    const value = (index * 7919) % 500 || 0.05
    one.record(value)
    parts[index % 3]?.record(value)
  }
  const sum = new Histogram()
  for (const part of parts) sum.add(structuredClone(part.state()))

  expect(sum.count).toBe(3000)
  expect(sum.summary()).toEqual({ ...one.summary(), mean: expect.closeTo(one.meanMs, 9) })
})

test('nothing recorded is zero everywhere, and what takes longer than can be counted is still the maximum', () => {
  const histogram = new Histogram()
  expect(histogram.summary()).toEqual({ mean: 0, p50: 0, p90: 0, p99: 0, max: 0 })

  histogram.record(1e9)

  expect(histogram.count).toBe(1)
  expect(histogram.maxMs).toBe(1e9)
})
