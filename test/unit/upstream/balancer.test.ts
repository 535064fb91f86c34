import { expect, test, vi } from 'vitest'
import { Balancer } from '../../../src/upstream/balancer.ts'

const REST_MS = 1_000

test('servers take turns', () => {
  const balancer = new Balancer(['a', 'b', 'c'], { restMs: REST_MS })

  expect([1, 2, 3, 4].map(() => balancer.pick([]))).toEqual(['a', 'b', 'c', 'a'])
})

test('a server that was tried is not picked again, and when all were, none is', () => {
  const balancer = new Balancer(['a', 'b'], { restMs: REST_MS })

  expect(balancer.pick(['a'])).toBe('b')
  expect(balancer.pick(['a', 'b'])).toBeUndefined()
})

test('a failed server rests, comes back, and is better than none meanwhile', () => {
  vi.useFakeTimers()
  const balancer = new Balancer(['a', 'b'], { restMs: REST_MS })
  balancer.markFailed('a')

  expect([1, 2, 3].map(() => balancer.pick([]))).toEqual(['b', 'b', 'b'])
  expect(balancer.pick(['b'])).toBe('a')
  vi.advanceTimersByTime(REST_MS)
  expect(new Set([balancer.pick([]), balancer.pick([])])).toEqual(new Set(['a', 'b']))
  vi.useRealTimers()
})

test('an order names every server once, begins with the next turn and ends with the resting', () => {
  const balancer = new Balancer(['a', 'b', 'c'], { restMs: REST_MS })

  expect(balancer.order()).toEqual(['a', 'b', 'c'])
  expect(balancer.order()).toEqual(['b', 'c', 'a'])
  balancer.markFailed('c')
  expect(balancer.order()).toEqual(['a', 'b', 'c'])
})
