/** However many handshakes fail, the log stays short and leaves none out of its counts. */

import { pino } from 'pino'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import { FailureLog } from '../../../src/tls/failure-log.ts'

const lines: { msg: string; level: number; reason: string; handshakes?: number; peer?: string }[] = []
const log = pino({ level: 'info' }, { write: (line: string) => lines.push(JSON.parse(line)) })

beforeEach(() => {
  vi.useFakeTimers()
  lines.length = 0
})
afterEach(() => {
  vi.useRealTimers()
})

test('a few of a kind are told one by one, with who it was', () => {
  const failures = new FailureLog(log)

  failures.failed('info', 'timeout', 'timeout', { peer: '192.0.2.1' })
  failures.failed('warn', 'ERR_HSM_ALL_FAILED', 'no HSM', { peer: '192.0.2.2' })
  failures.close()

  expect(lines).toMatchObject([
    { msg: 'handshake failed', level: 30, peer: '192.0.2.1', reason: 'timeout' },
    { msg: 'handshake failed', level: 40, peer: '192.0.2.2', reason: 'no HSM' },
  ])
})

test('a minute of 10,000 a second is 66 lines, which count every one of them', () => {
  const failures = new FailureLog(log)

  for (let second = 0; second < 60; second++) {
    for (let i = 0; i < 10_000; i++)
      failures.failed('warn', 'outage', `no HSM since ${second}`, { peer: 'x' })
    vi.advanceTimersByTime(1_000)
  }
  failures.close()

  expect(lines.length).toBe(66)
  const counted = lines.reduce((sum, { handshakes = 1 }) => sum + handshakes, 0)
  expect(counted).toBe(600_000)
  expect(lines.at(-1)).toMatchObject({ msg: 'more handshakes failed', level: 40, reason: 'no HSM since 59' })
})

test('an outage does not hide what else goes wrong, and peers cannot invent kinds without end', () => {
  const failures = new FailureLog(log)

  for (let i = 0; i < 1_000; i++) failures.failed('warn', 'outage', 'outage', {})
  failures.failed('info', 'no shared cipher', 'no shared cipher', {})
  for (let i = 0; i < 10_000; i++) failures.failed('info', `nonsense ${i}`, `nonsense ${i}`, {})
  failures.close()

  expect(lines.filter(({ reason }) => reason === 'no shared cipher')).toHaveLength(1)
  expect(lines.length).toBeLessThan(60)
  expect(lines.reduce((sum, { handshakes = 1 }) => sum + handshakes, 0)).toBe(11_001)
})

test('nothing is left to say after close, which may be called twice', () => {
  const failures = new FailureLog(log)
  for (let i = 0; i < 11; i++) failures.failed('warn', 'outage', 'outage', {})

  failures.close()
  failures.close()

  expect(lines).toHaveLength(11)
  expect(vi.getTimerCount()).toBe(0)
})
