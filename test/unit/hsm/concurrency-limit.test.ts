/** The limit against a simulated HSM: `servers` operations at a time, the rest queue inside; a rate cap says "busy". */

import { describe, expect, test } from 'vitest'

import { ConcurrencyLimit } from '../../../src/hsm/concurrency-limit.ts'

describe('an HSM with a knee', () => {
  test.each([
    { servers: 1, serviceMs: 20 },
    { servers: 4, serviceMs: 3 },
    { servers: 16, serviceMs: 3 },
    { servers: 32, serviceMs: 8 },
  ])('of $servers servers is kept busy with a short queue inside', ({ servers, serviceMs }) => {
    const hsm = new SimulatedHsm({ servers, serviceMs })
    hsm.run(5_000)
    const { signed } = hsm.run(5_000)

    expect(signed).toBeGreaterThan(0.97 * 5 * (1000 / serviceMs) * servers)
    expect(hsm.steadyLimit()).toBeGreaterThanOrEqual(servers)
    expect(hsm.steadyLimit()).toBeLessThanOrEqual(2 * servers + 6)
  })

  test('is found in less than a second', () => {
    const hsm = new SimulatedHsm({ servers: 8, serviceMs: 3 })
    hsm.run(500)

    expect(hsm.steadyLimit()).toBeGreaterThanOrEqual(8)
    expect(hsm.steadyLimit()).toBeLessThanOrEqual(22)
  })

  test('that moves is followed down and up again', () => {
    const hsm = new SimulatedHsm({ servers: 32, serviceMs: 3 })
    hsm.run(3_000)
    expect(hsm.steadyLimit()).toBeGreaterThanOrEqual(32)

    hsm.servers = 4
    hsm.run(8_000)
    expect(hsm.steadyLimit()).toBeLessThanOrEqual(16)

    hsm.servers = 32
    hsm.run(4_000)
    expect(hsm.steadyLimit()).toBeGreaterThanOrEqual(32)
  })

  test('does not creep away from it in ten minutes of load', () => {
    const hsm = new SimulatedHsm({ servers: 4, serviceMs: 10 })
    hsm.run(600_000)

    expect(hsm.steadyLimit()).toBeLessThanOrEqual(14)
  })
})

describe('nothing is taken from', () => {
  test.each([32, 128])('an HSM with 3 ms of latency and room for all %i sessions', (sessions) => {
    const hsm = new SimulatedHsm({ servers: 1000, serviceMs: 3, sessions })
    hsm.run(500)
    expect(hsm.limit.value).toBe(sessions)

    const { signed } = hsm.run(2_000)
    expect(signed).toBeGreaterThan(0.97 * sessions * 2 * (1000 / 3))
  })

  test('a token in software: 50 µs, one at a time', () => {
    const hsm = new SimulatedHsm({ servers: 1, serviceMs: 0.05, sessions: 16, queueIsOutside: true })
    hsm.run(1_000)

    expect(hsm.limit.value).toBe(16)
    expect(hsm.run(1_000).signed).toBeGreaterThan(0.99 * 20_000)
  })

  test('an HSM that has become slower, but not because of us', () => {
    const hsm = new SimulatedHsm({ servers: 1000, serviceMs: 3, sessions: 64 })
    hsm.run(1_000)
    hsm.serviceMs = 12
    hsm.run(3_000)

    expect(hsm.run(5_000).signed).toBeGreaterThan(0.95 * 64 * 5 * (1000 / 12))
  })

  test('one whose service times are all over the place', () => {
    const hsm = new SimulatedHsm({ servers: 1000, serviceMs: 3, sessions: 64, exponential: true })
    hsm.run(1_000)

    expect(hsm.run(5_000).signed).toBeGreaterThan(0.93 * 64 * 5 * (1000 / 3))
  })
})

describe('throttling', () => {
  test('a rate cap brings the limit down within a second, and few are asked in vain', () => {
    const hsm = new SimulatedHsm({ servers: 1000, serviceMs: 3, sessions: 64 })
    hsm.run(2_000)
    expect(hsm.limit.value).toBe(64)

    hsm.ratePerSecond = 200
    hsm.run(1_000)
    expect(hsm.limit.value).toBeLessThanOrEqual(8)

    const { signed, throttled } = hsm.run(10_000)
    expect(signed).toBeGreaterThan(0.9 * 2_000)
    expect(throttled).toBeLessThan(signed)
  })

  test.each([
    { ratePerSecond: 20, serviceMs: 0.1, vain: 15 },
    { ratePerSecond: 50, serviceMs: 0.1, vain: 10 },
    { ratePerSecond: 50, serviceMs: 3, vain: 10 },
    { ratePerSecond: 500, serviceMs: 3, vain: 20 },
    { ratePerSecond: 500, serviceMs: 40, vain: 30 },
  ])(
    '$ratePerSecond signatures/s of $serviceMs ms are asked for at about that rate: at most $vain a second in vain',
    ({ ratePerSecond, serviceMs, vain }) => {
      const hsm = new SimulatedHsm({ servers: 1000, serviceMs, sessions: 64, ratePerSecond })
      hsm.run(3_000)

      const { signed, throttled } = hsm.run(20_000)
      expect(signed).toBeGreaterThan(0.95 * 20 * ratePerSecond)
      expect(throttled).toBeLessThan(20 * vain)
    },
  )

  test('its end is found out in little more than a second', () => {
    const hsm = new SimulatedHsm({ servers: 1000, serviceMs: 3, sessions: 16, ratePerSecond: 50 })
    hsm.run(5_000)
    expect(hsm.limit.perSecond).toBeGreaterThan(50)

    hsm.ratePerSecond = Number.POSITIVE_INFINITY
    hsm.run(1_200)
    expect(hsm.limit.perSecond).toBeUndefined()
  })

  test('busy one time in ten, at random, is no cap: what it can do does not shrink from minute to minute', () => {
    const hsm = new SimulatedHsm({ servers: 4, serviceMs: 3, sessions: 32, busyProbability: 0.1 })
    hsm.run(10_000)
    const first = hsm.run(10_000).signed
    hsm.run(300_000)

    expect(first).toBeGreaterThan(10 * 100)
    expect(hsm.run(10_000).signed).toBeGreaterThan(0.8 * first)
  })

  test('the limit comes back when the cap is gone', () => {
    const hsm = new SimulatedHsm({ servers: 1000, serviceMs: 3, sessions: 32, ratePerSecond: 100 })
    hsm.run(5_000)
    expect(hsm.limit.value).toBeLessThanOrEqual(8)

    hsm.ratePerSecond = Number.POSITIVE_INFINITY
    hsm.run(2_500)

    expect(hsm.limit.value).toBe(32)
  })

  test('one busy answer in a thousand costs little', () => {
    const hsm = new SimulatedHsm({ servers: 1000, serviceMs: 3, sessions: 32, busyProbability: 0.001 })
    hsm.run(3_000)

    expect(hsm.run(10_000).signed).toBeGreaterThan(0.7 * 32 * 10 * (1000 / 3))
  })

  test('one that says nothing but busy is asked about ten times a second', () => {
    const hsm = new SimulatedHsm({ servers: 1000, serviceMs: 0.1, sessions: 32, ratePerSecond: 0 })
    hsm.run(2_000)

    const { throttled } = hsm.run(10_000)
    expect(throttled).toBeLessThan(10 * 25)
    expect(throttled).toBeGreaterThan(10 * 5)
  })
})

test('the limit is never above the sessions, nor below one while there are any', () => {
  const limit = new ConcurrencyLimit()
  expect(limit.value).toBe(0)

  limit.setMax(2)
  expect(limit.value).toBe(2)
  for (let nowMs = 1; nowMs < 100; nowMs++) limit.throttled(nowMs)
  expect(limit.value).toBe(1)
  expect(limit.paused).toBe(true)

  limit.reset(100)
  expect(limit.value).toBe(2)
  expect(limit.paused).toBe(false)
})

/** As many requests as the limit allows, always; virtual time, so that hours take seconds. */
class SimulatedHsm {
  readonly limit = new ConcurrencyLimit()
  servers: number
  serviceMs: number
  ratePerSecond: number
  readonly #exponential: boolean
  readonly #queueIsOutside: boolean
  readonly #busyProbability: number
  readonly #random = randomFrom(42)
  #nowMs = 0
  #window = { second: 0, used: 0 }
  /** When each server is free again, the next first. */
  #freeAtMs: number[] = []
  #inFlight: { readonly atMs: number; readonly sentAtMs: number; readonly serviceMs: number; ok: boolean }[] =
    []

  constructor(options: {
    servers: number
    serviceMs: number
    sessions?: number
    ratePerSecond?: number
    busyProbability?: number
    exponential?: boolean
    queueIsOutside?: boolean
  }) {
    this.servers = options.servers
    this.serviceMs = options.serviceMs
    this.ratePerSecond = options.ratePerSecond ?? Number.POSITIVE_INFINITY
    this.#busyProbability = options.busyProbability ?? 0
    this.#exponential = options.exponential ?? false
    this.#queueIsOutside = options.queueIsOutside ?? false
    this.limit.setMax(options.sessions ?? 128)
    this.limit.reset(0)
  }

  run(durationMs: number): { signed: number; throttled: number } {
    const untilMs = this.#nowMs + durationMs
    let signed = 0
    let throttled = 0
    this.#send()
    while (this.#nowMs < untilMs) {
      const next = this.#inFlight[0]
      // Pauses are looked at as often as Member.tick does.
      const tickMs = this.#nowMs + 5
      if (next === undefined || next.atMs > tickMs) {
        this.#nowMs = tickMs
      } else {
        this.#nowMs = Math.max(this.#nowMs, next.atMs)
        const inFlight = this.#inFlight.length
        this.#inFlight.shift()
        if (next.ok) {
          signed++
          this.limit.answered({ ...next, nowMs: this.#nowMs, inFlight })
        } else {
          throttled++
          this.limit.throttled(this.#nowMs)
        }
      }
      this.limit.resume(this.#nowMs)
      this.#send()
    }
    return { signed, throttled }
  }

  /** Not that of an experiment, which halves it for a moment. */
  steadyLimit(): number {
    const seen = Array.from({ length: 40 }, () => {
      this.run(10)
      return this.limit.value
    })
    return Math.max(...seen)
  }

  #send(): void {
    while (this.#inFlight.length < this.limit.value && !this.limit.paused) {
      const request = this.#request()
      this.limit.sent()
      const after = this.#inFlight.findLastIndex(({ atMs }) => atMs <= request.atMs)
      this.#inFlight.splice(after + 1, 0, request)
    }
  }

  #request() {
    const sentAtMs = this.#nowMs
    const second = Math.floor(sentAtMs / 1000)
    if (second !== this.#window.second) this.#window = { second, used: 0 }
    const busy = this.#random() < this.#busyProbability
    if (busy || ++this.#window.used > this.ratePerSecond) {
      return { atMs: sentAtMs + Math.min(0.1, this.serviceMs), sentAtMs, serviceMs: 0, ok: false }
    }
    const durationMs = this.serviceMs * (this.#exponential ? -Math.log(1 - this.#random()) : 1)
    const atMs = this.#serve(sentAtMs, durationMs)
    return { atMs, sentAtMs, serviceMs: this.#queueIsOutside ? durationMs : atMs - sentAtMs, ok: true }
  }

  /** @returns when it is done. */
  #serve(nowMs: number, durationMs: number): number {
    const free = this.#freeAtMs.filter((atMs) => atMs > nowMs)
    const startMs = free[free.length - this.servers] ?? nowMs
    const doneMs = startMs + durationMs
    free.splice(free.findLastIndex((atMs) => atMs <= doneMs) + 1, 0, doneMs)
    this.#freeAtMs = free
    return doneMs
  }
}

/** mulberry32: the same numbers every time. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
