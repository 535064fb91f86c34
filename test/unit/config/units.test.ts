import { expect, test } from 'vitest'
import { formatDuration, formatSize, parseDuration, parseSize } from '../../../src/config/units.ts'

test.each([
  ['250ms', 250],
  ['2s', 2_000],
  ['1.5s', 1_500],
  ['0.1s', 100],
  ['10m', 600_000],
  ['12h', 43_200_000],
  ['7d', 604_800_000],
  ['0ms', 0],
  ['30 s', 30_000],
])('%s is %i ms', (text, ms) => {
  expect(parseDuration(text)).toBe(ms)
})

test.each([
  '',
  '5',
  's',
  '-1s',
  '1h30m',
  '1e3s',
  '1S',
  '0.5ms',
  '1 hour',
  ' 1s',
  '1s ',
  '999999999999999d',
  '1toString',
])('"%s" is no duration', (text) => {
  expect(parseDuration(text)).toBeUndefined()
})

test('sizes are powers of two; a K that could be either is none', () => {
  expect(parseSize('16KiB')).toBe(16_384)
  expect(parseSize('1.5MiB')).toBe(1_572_864)
  expect(parseSize('512B')).toBe(512)
  expect(['16K', '16KB', '16kb', '16', '0.5B'].map(parseSize)).toEqual(Array(5).fill(undefined))
})

test('what is written reads back as the same number', () => {
  for (const ms of [0, 1, 250, 1_000, 90_000, 600_000, 43_200_000, 86_400_000]) {
    expect(parseDuration(formatDuration(ms))).toBe(ms)
  }
  for (const bytes of [0, 1, 1_000, 16_384, 1_048_576]) expect(parseSize(formatSize(bytes))).toBe(bytes)
  expect([formatDuration(90_000), formatDuration(43_200_000), formatSize(16_384)]).toEqual([
    '90s',
    '12h',
    '16KiB',
  ])
})
