/**
 * Both members are away for one second and have forgotten every session, login and handle when they are back. Nobody
 * can sign meanwhile, so handshakes wait; all of them end well within their deadline of two seconds.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { failures, nowMs } from '../support/handshake-load.ts'
import { figures, record } from './support/figures.ts'
import { onOwnProcessors } from './support/rounds.ts'
import { expectUnharmed, MEMBERS, TwoMembers } from './support/two-members.ts'

let stage: TwoMembers

beforeAll(async () => {
  stage = await TwoMembers.start({ config: { signing: { timeout: '2s' } } })
})

afterAll(() => stage?.[Symbol.asyncDispose]())

test('handshakes outlast a reboot of both members', async () => {
  const normal = await stage.normal()

  const { during, boundMs, firstUpMs } = await onOwnProcessors(async (again) => {
    const reboot = `* reboot ${again + 1}` // happens when the number changes
    const outcome = await stage.underLoad(async () => {
      for (const member of MEMBERS) stage.setFaults(member, reboot, '* removed')
      await delay(REBOOT_MS) // the length of the fault
      const { status } = (await stage.sealgate.admin('/readyz')) ?? {}
      for (const member of MEMBERS) stage.setFaults(member, reboot)
      const backMs = nowMs()
      await Promise.any(MEMBERS.map((member) => stage.untilUp(member)))
      const firstUpMs = Math.round(nowMs() - backMs)
      for (const member of MEMBERS) await stage.untilUp(member)
      return { readyMeanwhile: status, firstUpMs, allUpMs: Math.round(nowMs() - backMs) }
    })

    const { handshakes, span, stolen } = outcome
    const { readyMeanwhile, firstUpMs, allUpMs } = outcome.result
    const during = figures(outcome.each, { ...span, toMs: span.fromMs + REBOOT_MS })
    record('both members reboot for 1 s', {
      ...{ handshakes, failed: failures(outcome), normal, during, stolen, firstUpMs, allUpMs },
    })
    expectUnharmed(outcome)
    expect(readyMeanwhile).toBe(503)
    return { during, stolen, firstUpMs, boundMs: 1_500 }
  })

  expect(during.p99Ms).toBeLessThanOrEqual(boundMs)
  expect(firstUpMs).toBeLessThanOrEqual(1_000)
  await stage.finish()
})

const REBOOT_MS = 1_000
