/**
 * The host process of a member is killed, twice each in turn, under load. What it held is signed by the other member
 * inside the same handshake; nothing waits for the host's restart.
 */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { failures, nowMs } from '../support/handshake-load.ts'
import { figures, record, type Span } from './support/figures.ts'
import { onOwnProcessors } from './support/rounds.ts'
import { expectUnharmed, MEMBERS, TwoMembers } from './support/two-members.ts'

let stage: TwoMembers

beforeAll(async () => {
  stage = await TwoMembers.start()
})

afterAll(() => stage?.[Symbol.asyncDispose]())

test('no handshake fails or takes long when a host is killed', async () => {
  const normal = await stage.normal()

  const { during, boundMs } = await onOwnProcessors(async () => {
    const kills: Span[] = []
    const outcome = await stage.underLoad(async () => {
      for (const member of [...MEMBERS, ...MEMBERS]) {
        const pid = await stage.hostPid(member)
        const fromMs = nowMs()
        process.kill(pid, 'SIGKILL')
        await stage.untilUp(member, { except: { pid } })
        kills.push({ fromMs, toMs: nowMs() })
      }
    })

    const { handshakes, stolen } = outcome
    const during = figures(outcome.each, ...kills)
    const recoveryMs = Math.round(Math.max(...kills.map(({ fromMs, toMs }) => toMs - fromMs)))
    record('kill -9 of one host', {
      ...{ handshakes, failed: failures(outcome), normal, during, stolen, recoveryMs },
    })
    expectUnharmed(outcome)
    return { during, stolen, boundMs: 250 }
  })

  expect(during.p99Ms).toBeLessThanOrEqual(boundMs)
  await stage.finish()
})
