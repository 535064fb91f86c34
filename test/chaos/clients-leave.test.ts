/**
 * Both members hang, ten thousand clients wait for their signature at the same time, and all are gone at once. What
 * they took is given back while the HSMs still hang; when these are restarted, the signatures nobody waits for come to
 * an end; and doing it all again takes no more memory than the first time. (test/native/leaving_clients_test.cc does the C++ side of
 * it under AddressSanitizer.)
 */

import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { nowMs } from '../support/handshake-load.ts'
import { record } from './support/figures.ts'
import { residentMiB } from './support/resource-samples.ts'
import { expectUnharmed, MEMBERS, TwoMembers } from './support/two-members.ts'

let stage: TwoMembers

beforeAll(async () => {
  stage = await TwoMembers.start({
    // Room and time for all of them to wait; a client that was refused or timed out would not be waiting.
    config: {
      signing: { timeout: '30s', queue: 2 * CLIENTS },
      tls: { handshake_timeout: '1m' },
    },
    env: { NODE_OPTIONS: '--max-semi-space-size=1' }, // see random-faults.test.ts
  })
})

afterAll(() => stage?.[Symbol.asyncDispose]())

test('ten thousand clients that leave while their signature is pending leave nothing behind', async () => {
  const residentAfter: number[] = []
  let gatheredMs = 0
  for (let round = 0; round < ROUNDS; round++) {
    const descriptors = stage.sealgate.descriptors().length
    for (const member of MEMBERS) stage.setFaults(member, 'C_Sign hang')
    const beganMs = nowMs()
    const clients = stage.clients('--concurrency', String(CLIENTS), '--timeout', '60')
    await vi.waitFor(async () => expect(await waiting()).toBe(CLIENTS), PATIENCE)
    gatheredMs = Math.round(nowMs() - beganMs)

    await clients.kill()
    await vi.waitFor(async () => {
      expect(await waiting()).toBe(0)
      // Some more may be questions of this test and hosts that are being started.
      expect(stage.sealgate.descriptors().length).toBeLessThan(descriptors + 100)
    }, PATIENCE)
    for (const member of MEMBERS) {
      stage.clearFaults(member)
      process.kill(await stage.hostPid(member), 'SIGKILL')
    }
    await stage.sealgate.untilAtRest(PATIENCE.timeout)
    for (const member of MEMBERS) await stage.untilUp(member)
    // What a burst took is given back when it has been quiet for a second; what V8 collects, a little later.
    const bound = Math.min(...residentAfter, GIVEN_BACK_MIB) + FLAT_MIB
    await vi.waitFor(() => expect(residentMiB(stage.sealgate.pid)).toBeLessThanOrEqual(bound), PATIENCE)
    residentAfter.push(Math.round(residentMiB(stage.sealgate.pid)))
  }

  const growthMiB = (residentAfter.at(-1) ?? Number.NaN) - (residentAfter[0] ?? Number.NaN)
  record('10,000 clients leave while their signature is pending', {
    rounds: ROUNDS,
    gatheredMs,
    residentAfter,
    growthMiB,
  })
  expect(growthMiB).toBeLessThanOrEqual(FLAT_MIB)
  expectUnharmed(await stage.underLoad(async () => {}))
  await stage.finish()
}, 120_000)

async function waiting(): Promise<number> {
  return (await stage.sealgate.metrics()).sum('sealgate_handshakes_signing')
}

const CLIENTS = 10_000
const ROUNDS = 3
const PATIENCE = { timeout: 40_000, interval: 50 }
/** Of some 70 KiB for each client while it waits, next to nothing stays. */
const GIVEN_BACK_MIB = 230
/** Between the first time and the last: 2.4 KB a client. When V8 collects its old space varies by half of it. */
const FLAT_MIB = 24
