/** Numbers of keys over several configurations: the same for the same key, never two keys' one after the other. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { KeyIds } from '../../../src/tls/key-ids.ts'
import type { Credentials } from '../../../src/tls/offers.ts'

const LINGER_MS = 1_000

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('a key that stays keeps its number, wherever it stands', () => {
  const ids = new KeyIds()
  const [a, b] = [key(), key()]

  const [ofA] = ids.use([a], LINGER_MS)
  const [ofB, again] = ids.use([b, a], LINGER_MS)

  expect(again).toBe(ofA)
  expect(ofB).not.toBe(ofA)
  expect([ids.key(ofA ?? -1), ids.key(ofB ?? -1)]).toEqual([a, b])
})

test('a key that has gone answers to its number for a while, and nobody gets it after', () => {
  const ids = new KeyIds()
  const [a, b, c] = [key(), key(), key()]
  const [ofA = -1] = ids.use([a], LINGER_MS)
  ids.use([b], LINGER_MS)

  expect(ids.key(ofA)).toBe(a)
  vi.advanceTimersByTime(LINGER_MS + 1)

  expect(ids.key(ofA)).toBeUndefined()
  expect(ids.use([c], LINGER_MS)).not.toContain(ofA)
})

test('a key that comes back in time is not forgotten', () => {
  const ids = new KeyIds()
  const [a, b] = [key(), key()]
  const [ofA = -1] = ids.use([a], LINGER_MS)
  ids.use([b], LINGER_MS)
  expect(ids.use([a], LINGER_MS)).toEqual([ofA])
  vi.advanceTimersByTime(3 * LINGER_MS)

  expect(ids.key(ofA)).toBe(a)
})

test('a key that comes back and goes again answers as long as after it went first', () => {
  const ids = new KeyIds()
  const [a, b] = [key(), key()]
  const [ofA = -1] = ids.use([a], LINGER_MS)
  ids.use([b], LINGER_MS)
  vi.advanceTimersByTime(0.8 * LINGER_MS)
  ids.use([a], LINGER_MS)
  ids.use([b], LINGER_MS)

  vi.advanceTimersByTime(0.9 * LINGER_MS)
  expect(ids.key(ofA)).toBe(a)
  vi.advanceTimersByTime(0.2 * LINGER_MS)
  expect(ids.key(ofA)).toBeUndefined()
})

test('two certificates with one key have one number', () => {
  const ids = new KeyIds()
  const a = key()

  const [first, second] = ids.use([a, a], LINGER_MS)

  expect(first).toBe(second)
})

function key(): Credentials['key'] {
  return { spki: new Uint8Array(), schemes: [], sign: () => Promise.reject(new Error('not asked')) }
}
