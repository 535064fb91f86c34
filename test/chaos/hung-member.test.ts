/**
 * C_Sign of one member does not return, for five seconds. Each handshake that was given to it costs the hedge delay:
 * the other member is asked then. The host is killed meanwhile, for nothing else ends such a call, and its successor
 * hangs as well until the fault is gone.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { failures } from '../support/handshake-load.ts'
import { figures, normalMs, onset, record } from './support/figures.ts'
import { onOwnProcessors } from './support/rounds.ts'
import { expectUnharmed, TwoMembers } from './support/two-members.ts'

let stage: TwoMembers

beforeAll(async () => {
  stage = await TwoMembers.start()
})

afterAll(() => stage?.[Symbol.asyncDispose]())

test('a member that hangs in C_Sign costs its handshakes the hedge delay and no more', async () => {
  const normal = await stage.normal()
  const { restarts } = await stage.status('hsm-a')

  const { during, boundMs } = await onOwnProcessors(async () => {
    const { hedgeDelayMs } = await stage.status('hsm-a')
    const outcome = await stage.underLoad(async () => {
      stage.setFaults('hsm-a', 'C_Sign hang')
      await delay(HANG_MS) // the length of the fault
      stage.clearFaults('hsm-a')
      return stage.untilUp('hsm-a')
    })

    const { handshakes, span, stolen } = outcome
    const during = figures(outcome.each, { ...span, toMs: span.fromMs + HANG_MS })
    record('one member hangs in C_Sign', {
      ...{ handshakes, failed: failures(outcome), normal, hedgeDelayMs },
      ...{
        onset: figures(outcome.each, onset(span)),
        during,
        stolen,
        recoveryMs: Math.round(outcome.result),
      },
    })
    expectUnharmed(outcome)
    return { during, stolen, boundMs: hedgeDelayMs + 2 * normalMs(normal) }
  })

  expect((await stage.status('hsm-a')).restarts).toBeGreaterThan(restarts)
  expect(during.p99Ms).toBeLessThanOrEqual(boundMs)
  await stage.finish()
})

const HANG_MS = 5_000
