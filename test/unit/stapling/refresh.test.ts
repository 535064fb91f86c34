/** When a response is asked for again, and with which method. */

import { expect, test } from 'vitest'
import { methodsFor } from '../../../src/stapling/exchange.ts'
import { refreshDelayMs } from '../../../src/stapling/responder.ts'
import type { Staple } from '../../../src/stapling/verdict.ts'

const HOUR_MS = 3_600_000
const NOW_MS = Date.UTC(2026, 0, 1)

test('a little after half of its life, not all proxies at once', () => {
  const fresh = staple(0, 10)

  expect(refreshDelayMs(fresh, NOW_MS, 0)).toBe(5 * HOUR_MS)
  expect(refreshDelayMs(fresh, NOW_MS, 1)).toBe(6 * HOUR_MS)
})

test('at least once a day, however long it lives: timers do not count to 60 days either', () => {
  expect(refreshDelayMs(staple(0, 24 * 60), NOW_MS, 0)).toBe(24 * HOUR_MS)
})

test('one that was made long ago is not asked for without end', () => {
  expect(refreshDelayMs(staple(-8, 2), NOW_MS, 0)).toBe(HOUR_MS / 4)
  expect(refreshDelayMs(staple(-8, 1 / HOUR_MS), NOW_MS, 0)).toBe(1_000)
})

test('GET as long as caches take the URL, then POST only', () => {
  const request = new Uint8Array(84)

  expect(methodsFor('http://ocsp.example', request)).toEqual(['GET', 'POST'])
  expect(methodsFor(`http://ocsp.example/${'a'.repeat(200)}`, request)).toEqual(['POST'])
})

function staple(madeHoursAgo: number, endsInHours: number): Staple {
  const [thisUpdateMs, endsMs] = [NOW_MS + madeHoursAgo * HOUR_MS, NOW_MS + endsInHours * HOUR_MS]
  return { response: new Uint8Array(), thisUpdateMs, endsMs }
}
