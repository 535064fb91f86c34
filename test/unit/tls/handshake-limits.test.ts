import { expect, test } from 'vitest'
import { type Admission, HandshakeLimits } from '../../../src/tls/handshake-limits.ts'

const PATIENCE_MS = 2_000
const refuse = { total: undefined, perAddress: undefined, exceeded: 'refuse' } as const

test('a burst is admitted at once, then the rate holds', () => {
  const limits = new HandshakeLimits({ ...refuse, total: { perSecond: 10, burst: 3 } }, 0)
  const admitted = (nowMs: number) => limits.admit('192.0.2.1', nowMs, PATIENCE_MS).waitMs !== undefined

  expect([0, 0, 0, 0].map(admitted)).toEqual([true, true, true, false])
  expect(admitted(99)).toBe(false)
  expect(admitted(101)).toBe(true)
  expect(admitted(102)).toBe(false)
  expect([10_000, 10_000, 10_000, 10_000].map(admitted)).toEqual([true, true, true, false])
})

test('one address cannot use up what others may have', () => {
  const perAddress = { perSecond: 1, burst: 1 }
  const limits = new HandshakeLimits({ ...refuse, total: { perSecond: 1, burst: 2 }, perAddress }, 0)

  expect(limits.admit('192.0.2.1', 0, PATIENCE_MS)).toEqual(OK)
  expect(limits.admit('192.0.2.1', 0, PATIENCE_MS)).toEqual({ exceeded: 'address', waitMs: undefined })
  expect(limits.admit('192.0.2.2', 0, PATIENCE_MS)).toEqual(OK)
})

test('what the total refuses does not count against the address', () => {
  const perAddress = { perSecond: 0.01, burst: 1 }
  const limits = new HandshakeLimits({ ...refuse, total: { perSecond: 1, burst: 1 }, perAddress }, 0)
  limits.admit('192.0.2.1', 0, PATIENCE_MS)

  expect(limits.admit('192.0.2.2', 0, PATIENCE_MS)).toEqual({ exceeded: 'total', waitMs: undefined })
  expect(limits.admit('192.0.2.2', 1_000, PATIENCE_MS)).toEqual(OK)
})

test('told to wait, each has its turn at the rate, and who would wait too long is refused', () => {
  const limits = new HandshakeLimits({ ...refuse, exceeded: 'wait', total: { perSecond: 2, burst: 1 } }, 0)
  const turns = Array.from({ length: 6 }, () => limits.admit('192.0.2.1', 0, PATIENCE_MS).waitMs)

  expect(turns).toEqual([0, 500, 1_000, 1_500, 2_000, undefined])
})

test.each([
  ['2001:db8:1:2::1', '2001:db8:1:2:ffff::1', 'one'],
  ['2001:db8:1:2::1', '2001:db8:1:3::1', 'two'],
  ['2001:db8::1', '2001:db8::2', 'one'],
  ['::1', '::2', 'one'],
  ['192.0.2.1', '192.0.2.2', 'two'],
])('%s and %s are %s client(s)', (one, other, clients) => {
  const limits = new HandshakeLimits({ ...refuse, perAddress: { perSecond: 1, burst: 1 } }, 0)
  limits.admit(one, 0, PATIENCE_MS)

  const expected: Admission = clients === 'two' ? OK : { exceeded: 'address', waitMs: undefined }
  expect(limits.admit(other, 0, PATIENCE_MS)).toEqual(expected)
})

test('addresses that have gone quiet are forgotten, and there is a bound for those that have not', () => {
  const limits = new HandshakeLimits({ ...refuse, perAddress: { perSecond: 1, burst: 1 } }, 0)
  const address = (n: number): string => `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`
  for (let n = 0; n < 100_000; n++) limits.admit(address(n), 0, PATIENCE_MS)
  expect(limits.size).toBeLessThanOrEqual(65_536)

  for (let n = 0; n < 50_000; n++) limits.admit(address(200_000 + n), 2_000 + n, PATIENCE_MS)
  expect(limits.size).toBeLessThan(20_000)
})

const OK: Admission = { exceeded: undefined, waitMs: 0 }
