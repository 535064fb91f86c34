import { expect, test } from 'vitest'
import { type PlanOptions, planCapacity } from '../../../src/bench/plan/capacity.ts'
import { planText } from '../../../src/bench/plan/text.ts'
import { report, series, step } from './support.ts'

const options: PlanOptions = {
  handshakes: 5000,
  resumed: 0.6,
  scheme: undefined,
  hsm: undefined,
  utilisation: 0.7,
  pricePerHour: undefined,
  pricePerSignature: undefined,
  averageShare: 0.4,
}

test('as many HSMs as carry the load at 70 %, and one more that may be lost', () => {
  // 2,000 signatures/s at the knee of 2,000/s each, at 70 %: 1,400 of each.
  const plan = planCapacity(report(), options)

  expect(plan).toMatchObject({ signaturesPerSecond: 2000, perHsm: 2000, needed: 2, bought: 3 })
  expect(plan.utilisation).toBeCloseTo(1 / 3)
  expect(plan.utilisationWithOneLost).toBeCloseTo(1 / 2)
  expect(planCapacity(report(), { ...options, handshakes: 7001 }).needed).toBe(3)
})

test('with any one HSM lost the others stay below the wanted utilisation', () => {
  for (let handshakes = 1; handshakes < 100_000; handshakes = Math.ceil(handshakes * 1.3)) {
    const plan = planCapacity(report(), { ...options, handshakes })
    expect(plan.utilisationWithOneLost).toBeLessThanOrEqual(0.7 + 1e-9)
    expect(plan.bought).toBeGreaterThanOrEqual(2)
  }
})

test('a price per hour is for all that are bought, a price per signature for the average load', () => {
  const { monthly } = planCapacity(report(), {
    ...options,
    pricePerHour: 1.45,
    pricePerSignature: 0.15 / 10_000,
  })

  expect(monthly.hsms).toBeCloseTo(3 * 1.45 * 730)
  expect(monthly.signatures).toBeCloseTo(2000 * 0.4 * 730 * 3600 * 0.000015)
  expect(monthly.total).toBeCloseTo((monthly.hsms ?? 0) + (monthly.signatures ?? 0))
})

test('the slowest HSM is planned with, since any may be the one that is left', () => {
  const slow = series({ members: ['hsm-b'], steps: [step(1, 500), step(2, 700), step(4, 700)] })

  expect(planCapacity(report({ series: [series(), slow] }), options).series.members).toEqual(['hsm-b'])
})

test('HSMs that are not independent, and a knee that was not reached, are said', () => {
  const together = series({ members: ['hsm-a', 'hsm-b'], steps: [step(1, 1800), step(2, 2200)] })
  const open = series({ stop: { reason: 'token-limit', text: '16 sessions is all there is' } })
  const plan = planCapacity(report({ series: [open, together] }), options)

  expect(planText(plan, options)).toMatch(/the knee may be further up.*\n.*together sign 55 %/)
})

test.each([
  [{ scheme: 'ed25519' }, '--scheme ed25519: the report has ecdsa_secp256r1_sha256'],
  [{ hsm: 'hsm-z' }, '--hsm hsm-z: the report has hsm-a'],
])('%o is refused with what there is', (overrides, message) => {
  expect(() => planCapacity(report(), { ...options, ...overrides })).toThrow(message)
})
