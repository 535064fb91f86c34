/**
 * Handshakes that wait through an outage need memory: a stack each, and what OpenSSL makes on the way. It is given back on
 * a proxy that never has a quiet second as well.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { record } from './support/figures.ts'
import { residentMiB, YOUNG_GENERATION_OF_ONE_SIZE } from './support/resource-samples.ts'
import { MEMBERS, TwoMembers } from './support/two-members.ts'

const OUTAGE_MS = 1_800

let stage: TwoMembers

beforeAll(async () => {
  // Nobody fails: who came first still has time when the HSMs are back.
  stage = await TwoMembers.start({
    config: { signing: { timeout: '10s' } },
    env: YOUNG_GENERATION_OF_ONE_SIZE,
  })
})

afterAll(() => stage?.[Symbol.asyncDispose]())

test('what an outage needed is given back while handshakes go on', async () => {
  await stage.normal()
  const resident = () => Math.round(residentMiB(stage.sealgate.pid))

  const { result } = await stage.underLoad(async () => {
    const before = resident()
    for (const member of MEMBERS) stage.setFaults(member, '* removed')
    await delay(OUTAGE_MS) // the length of the outage
    for (const member of MEMBERS) stage.clearFaults(member)
    for (const member of MEMBERS) await stage.untilUp(member)
    const most = resident()
    await vi.waitFor(() => expect(most - resident()).toBeGreaterThan((most - before) / 2), GIVEN_BACK)
    return { before, most, after: resident() }
  })

  record('memory of an outage', { residentMiB: result })
  expect(result.most - result.before).toBeGreaterThan(10)
  await stage.finish()
}, 60_000)

const GIVEN_BACK = { timeout: 20_000, interval: 250 }
