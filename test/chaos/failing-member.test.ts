/**
 * Every PKCS#11 call of one member fails with the same return value, for five seconds: C_Sign first, and then whatever
 * the recovery tries, from a new session up to C_Initialize in a new host. The other member signs.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { failures } from '../support/handshake-load.ts'
import { type Figures, figures, normalMs, onset, record } from './support/figures.ts'
import { onOwnProcessors } from './support/rounds.ts'
import { expectUnharmed, TwoMembers } from './support/two-members.ts'

let stage: TwoMembers
let normal: Figures

beforeAll(async () => {
  stage = await TwoMembers.start()
  normal = await stage.normal()
})

afterAll(() => stage?.[Symbol.asyncDispose]())

test.each([
  'CKR_DEVICE_ERROR',
  'CKR_SESSION_HANDLE_INVALID',
  'CKR_USER_NOT_LOGGED_IN',
  'CKR_TOKEN_NOT_PRESENT',
  'CKR_FUNCTION_FAILED',
  'CKR_GENERAL_ERROR',
  'CKR_OBJECT_HANDLE_INVALID',
])('a member whose every call fails with %s costs no handshake', async (rv) => {
  const errorsBefore = await stage.errors('hsm-a', rv)

  const { during, boundMs } = await onOwnProcessors(async () => {
    const outcome = await stage.underLoad(async () => {
      stage.setFaults('hsm-a', `* rv ${rv}`)
      await delay(TROUBLE_MS) // the length of the fault
      stage.clearFaults('hsm-a')
      return stage.untilUp('hsm-a')
    })

    const { handshakes, span, stolen } = outcome
    const during = figures(outcome.each, { ...span, toMs: span.fromMs + TROUBLE_MS })
    record(`one member returns ${rv}`, {
      ...{ handshakes, failed: failures(outcome), normal, onset: figures(outcome.each, onset(span)), during },
      ...{ stolen, recoveryMs: Math.round(outcome.result) },
    })
    expectUnharmed(outcome)
    return { during, stolen, boundMs: 2 * normalMs(normal) }
  })

  expect(await stage.errors('hsm-a', rv)).toBeGreaterThan(errorsBefore)
  expect(during.p99Ms).toBeLessThanOrEqual(boundMs)
})

test('it heals from all of them and leaves nothing behind', () => stage.finish())

const TROUBLE_MS = 5_000
