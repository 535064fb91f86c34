/** The small deciders: which thread signs, when to hedge, when to rest, how long. */

import { describe, expect, test } from 'vitest'

import { BackOff } from '../../../src/hsm/back-off.ts'
import { Breaker } from '../../../src/hsm/breaker.ts'
import { CallMode } from '../../../src/hsm/host/call-mode.ts'
import { Latency } from '../../../src/hsm/latency.ts'
import { OpeningLimit } from '../../../src/hsm/opening-limit.ts'

describe('the call mode', () => {
  test('stays on this thread while calls are quick', () => {
    const mode = new CallMode()
    for (let nowMs = 0; nowMs < 100; nowMs++) {
      expect(mode.mayBlock(nowMs)).toBe(true)
      mode.record(0.05, nowMs)
    }
  })

  test('leaves it after one slow call and comes back with a quick one', () => {
    const mode = new CallMode()
    mode.record(0.05, 0)
    mode.record(3, 1)

    expect(mode.mayBlock(1.5)).toBe(false)
    expect(mode.mayBlock(2)).toBe(true)
    mode.record(0.05, 2)
    expect(mode.mayBlock(2.1)).toBe(true)
  })

  test('blocks for a networked HSM at most twice a minute', () => {
    const mode = new CallMode()
    const blocked: number[] = []
    for (let nowMs = 0; nowMs < 600_000; nowMs++) {
      if (!mode.mayBlock(nowMs)) continue
      blocked.push(nowMs)
      mode.record(2, nowMs)
    }

    expect(blocked.filter((ms) => ms < 1000).length).toBeLessThanOrEqual(6)
    expect(blocked.filter((ms) => ms >= 540_000).length).toBeLessThanOrEqual(2)
  })
})

describe('the hedge delay', () => {
  test('follows the 95th percentile', () => {
    const latency = new Latency()
    for (let i = 0; i < 256; i++) latency.record(i % 100 < 90 ? 5 : 20)

    expect(latency.hedgeDelayMs).toBe(40)
  })

  test('is never below scheduling noise and never above what a person notices', () => {
    const quick = new Latency()
    const slow = new Latency()
    for (let i = 0; i < 64; i++) {
      quick.record(0.1)
      slow.record(900)
    }

    expect([quick.hedgeDelayMs, slow.hedgeDelayMs]).toEqual([10, 200])
    expect([quick.lostAfterMs, slow.lostAfterMs]).toEqual([250, 3_600])
  })

  test('an answer does not come after four times the slowest, until there are enough for a percentile', () => {
    const latency = new Latency()
    for (const ms of [5, 300, 5]) latency.record(ms)
    expect(latency.lostAfterMs).toBe(1_200)

    for (let i = 0; i < 61; i++) latency.record(5)
    expect(latency.lostAfterMs).toBe(250)
  })
})

describe('the breaker', () => {
  test('opens at the third failure in a row', () => {
    const breaker = new Breaker()

    expect([breaker.failed(1), breaker.failed(2)]).toEqual([false, false])
    breaker.succeeded(3)
    expect([breaker.failed(4), breaker.failed(5), breaker.failed(6)]).toEqual([false, false, true])
  })

  test('opens for nothing but busy in more than a second, not for a rate cap that is used up', () => {
    const capped = new Breaker()
    const dead = new Breaker()
    const opened: { capped: number[]; dead: number[] } = { capped: [], dead: [] }
    for (let nowMs = 0; nowMs < 5_000; nowMs += 50) {
      if (nowMs % 1_000 === 0) capped.succeeded(nowMs)
      else if (capped.busy(nowMs)) opened.capped.push(nowMs)
      if (dead.busy(nowMs)) opened.dead.push(nowMs)
    }

    expect(opened.capped).toEqual([])
    expect(opened.dead[0]).toBe(1_550)
  })

  test('opens for silence, not for slowness', () => {
    const slow = new Breaker()
    const silent = new Breaker()
    const opened = { slow: false, silent: false }
    for (let nowMs = 0; nowMs < 2000; nowMs += 10) {
      slow.late()
      silent.late()
      opened.slow ||= slow.isSilent(nowMs)
      opened.silent ||= silent.isSilent(nowMs)
      if (nowMs % 100 === 0) slow.succeeded(nowMs)
    }

    expect(opened).toEqual({ slow: false, silent: true })
  })
})

describe('the limit of an opening', () => {
  test('the next one may take as long as the slowest of the last five, and anything as long as there was none', () => {
    const limit = new OpeningLimit()
    expect(limit.expectedMs).toBe(Number.POSITIVE_INFINITY)

    for (const ms of [900, 20, 300, 20, 20, 20]) limit.opened(ms)
    expect(limit.expectedMs).toBe(300)
  })

  test('is 30 s for a token that has never opened, whatever became of the hosts', () => {
    const limit = new OpeningLimit()
    limit.hung()

    expect(limit.ms).toBe(30_000)
  })

  test.each([
    { lastMs: 80, limitMs: 5_000 },
    { lastMs: 700, limitMs: 7_000 },
    { lastMs: 20_000, limitMs: 30_000 },
  ])('is $limitMs ms after one that took $lastMs ms', ({ lastMs, limitMs }) => {
    const limit = new OpeningLimit()
    limit.opened(lastMs)

    expect(limit.ms).toBe(limitMs)
  })

  test('follows from the fastest of the last five, not from one that fell into an outage', () => {
    const limit = new OpeningLimit()
    for (const ms of [700, 3_000, 3_000, 3_000, 3_000]) limit.opened(ms)
    expect(limit.ms).toBe(7_000)

    limit.opened(2_000)

    expect(limit.ms).toBe(20_000)
  })

  test('doubles from the second host on that it has cost, and starts anew when the token opens', () => {
    const limit = new OpeningLimit()
    limit.opened(80)
    const limits = Array.from({ length: 5 }, () => {
      limit.hung()
      return limit.ms
    })

    expect(limits).toEqual([5_000, 10_000, 20_000, 30_000, 30_000])
    limit.opened(80)
    expect(limit.ms).toBe(5_000)
  })
})

test('a back-off doubles to its cap, with jitter, and starts again', () => {
  const backOff = new BackOff({ firstMs: 100, capMs: 400 })

  for (const stepMs of [100, 200, 400, 400]) {
    const delayMs = backOff.next()
    expect(delayMs).toBeGreaterThanOrEqual(stepMs / 2)
    expect(delayMs).toBeLessThanOrEqual(stepMs)
  }
  backOff.reset()
  expect(backOff.next()).toBeLessThanOrEqual(100)
})
