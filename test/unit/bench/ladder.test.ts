import { expect, test } from 'vitest'
import { endOf, kneeOf, ladderUpTo, stopAfter } from '../../../src/bench/sign/ladder.ts'
import { step } from './support.ts'

test('sessions double up to the limit, which is a step of its own', () => {
  expect(ladderUpTo(1)).toEqual([1])
  expect(ladderUpTo(8)).toEqual([1, 2, 4, 8])
  expect(ladderUpTo(12)).toEqual([1, 2, 4, 8, 12])
})

test('it goes on while the rate grows, and over one step without growth', () => {
  const steps = [step(1, 500), step(2, 1000), step(4, 1900), step(8, 1920)]

  for (let count = 1; count <= steps.length; count++) expect(stopAfter(steps.slice(0, count))).toBeUndefined()
})

test('two steps without growth and with longer latency are the knee', () => {
  const steps = [step(1, 500), step(2, 1000), step(4, 1900), step(8, 1920), step(16, 1910)]

  expect(stopAfter(steps)).toMatchObject({ reason: 'knee', text: expect.stringContaining('16 sessions') })
  expect(kneeOf(steps)).toMatchObject({ sessions: 4, rate: 1900 })
})

test('no growth with the same latency is not the knee: the HSM waits for somebody else', () => {
  const fast = { latencyMs: { mean: 2, p50: 2, p90: 2, p99: 2, max: 2 } }
  const steps = [step(1, 500, fast), step(2, 505, fast), step(4, 502, fast)]

  expect(stopAfter(steps)).toBeUndefined()
})

test('a rate that collapses once may be chance: the next step decides', () => {
  const collapsed = [step(4, 2100), step(8, 4000), step(16, 2000)]

  expect(stopAfter(collapsed)).toBeUndefined()
  expect(stopAfter([...collapsed, step(32, 2100)])).toMatchObject({ reason: 'knee' })
  expect(stopAfter([...collapsed, step(32, 6000)])).toBeUndefined()
})

test('a step in which nothing was signed ends it with the reason', () => {
  const dead = step(4, 0, { errors: { CKR_DEVICE_REMOVED: 3, ERR_HSM_SIGN_TIMEOUT: 12 } })

  expect(stopAfter([step(1, 500), dead])).toEqual({
    reason: 'gone',
    text: 'with 4 sessions nothing was signed: ERR_HSM_SIGN_TIMEOUT',
  })
})

test('a step in which most signatures fail ends it, a few failures do not', () => {
  expect(stopAfter([step(1, 100), step(2, 100, { errors: { CKR_FUNCTION_FAILED: 400 } })])).toMatchObject({
    reason: 'failing',
    text: expect.stringContaining('400 of 700'),
  })
  expect(stopAfter([step(1, 100), step(2, 190, { errors: { CKR_FUNCTION_FAILED: 4 } })])).toBeUndefined()
})

test('a ladder that ends while the rate still grows says that the knee may be further up', () => {
  const growing = [step(1, 500), step(2, 1000)]

  expect(endOf(growing, { limited: true })).toMatchObject({
    reason: 'token-limit',
    text: expect.stringContaining('+100 %'),
  })
  expect(endOf([step(1, 500), step(2, 501)], { limited: false }).text).not.toContain('further up')
})
