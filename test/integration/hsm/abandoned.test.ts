/**
 * Clients that leave while their handshakes wait for a signature: what no HSM was asked for yet is not asked, what was asked ends as
 * it would have. hsm-a goes straight to SoftHSM, hsm-b through the faults.
 */

import { afterEach, beforeAll, expect, test } from 'vitest'

import type { KeyUse } from '../../../src/hsm/key-use.ts'
import { Waiter } from '../../../src/signing.ts'
import { Faults } from '../../support/p11-faults.ts'
import { eventually, firstScheme, signRequest, type TestService, testService } from '../../support/signing.ts'
import { SoftHsm, type SoftToken } from '../../support/softhsm.ts'

const hsm = new SoftHsm()
const faults = new Faults(hsm, 'hsm-b')
let token: SoftToken
let spki: Uint8Array
let running: TestService | undefined
const uses: KeyUse[] = []
let onUse: (use: KeyUse) => void = () => {}

beforeAll(() => {
  token = hsm.addToken('web')
  spki = token.generateKey({ label: 'ec', id: '01', type: 'EC:prime256v1' })
  return () => hsm.remove()
})

afterEach(async () => {
  await running?.service.close()
  faults.clear()
  uses.length = 0
  onUse = () => {}
})

test('of a hundred that leave, those in the queue cost no signature and leave their places at once', async () => {
  const { service } = await start({ queue: 98 })
  faults.set('C_Sign delay 1500000')
  const clients = Array.from({ length: 100 }, () => new Waiter())
  const outcomes = sign(...clients)
  await eventually(() => waiting() === 98, 'all but two wait')

  for (const client of clients) client.leave()

  expect(waiting()).toBe(0)
  expect(await codes(outcomes)).toEqual({ signed: 2, ERR_HSM_SIGN_ABANDONED: 98 })
  expect(await abandoned()).toBe(98)
  expect(handshakes().length).toBe(2)
  faults.clear()
  // The queue was full: there is room for others.
  expect(await codes(sign(...Array(98)))).toEqual({ signed: 98 })
  await eventually(() => service.status().every(({ inFlight }) => inFlight === 0), 'nothing is in flight')
})

test('one that has failed, and waits for its next try, is not tried again', async () => {
  await start({})
  faults.set('C_Sign rv CKR_DATA_INVALID times 1', 'C_Sign delay 50000')
  const leaving = new Waiter()
  // Its pause is some milliseconds: whoever looks now and then may miss it.
  const failed = new Promise<void>((resolve) => {
    onUse = ({ result }) => result !== 'ok' && resolve()
  })
  const outcome = sign(leaving)
  await failed
  expect(waiting()).toBe(1)

  leaving.leave()

  expect(await codes(outcome)).toEqual({ ERR_HSM_SIGN_ABANDONED: 1 })
  expect(handshakes().map(({ result }) => result)).toEqual(['ERR_HSM_FAILED'])
})

test('one that is asked for and slow is not asked of a second HSM any more, and settles with its answer', async () => {
  const { service, metrics } = await start({}, ['hsm-b', 'hsm-a'])
  faults.set('C_Sign delay 400000')
  const leaving = new Waiter()
  const key = service.key(0)
  const request = signRequest(firstScheme(key), { waiter: leaving })
  const answer = key.sign(request)
  await eventually(() => service.status()[0]?.inFlight === 1, 'hsm-b is asked')

  leaving.leave()

  expect((await answer).length).toBeGreaterThan(60)
  expect((await metrics.signHedges.get()).values.every(({ value }) => value === 0)).toBe(true)
  expect(await abandoned()).toBe(0)
})

async function start(
  signing: { queue?: number },
  names: readonly string[] = ['hsm-b'],
): Promise<TestService> {
  running = testService({
    hsms: names.map((name) =>
      token.hsmOptions({ name, sessions: 2, ...(name === 'hsm-b' ? faults.options : {}) }),
    ),
    keys: [{ label: 'ec', spki }],
    signing: { timeoutMs: 20_000, ...signing },
    onUse: (use) => {
      uses.push(use)
      onUse(use)
    },
  })
  expect(await running.service.start()).toEqual([])
  return running
}

/** One for each client, who may have a way to leave. */
function sign(...clients: readonly (Waiter | undefined)[]): Promise<PromiseSettledResult<Uint8Array>[]> {
  const key = running?.service.key(0)
  if (key === undefined) throw new Error('not started')
  return Promise.allSettled(
    clients.map((waiter) =>
      key.sign(signRequest(firstScheme(key), { timeoutMs: 20_000, ...(waiter && { waiter }) })),
    ),
  )
}

/** How many were signed, and how many failed with which code. */
async function codes(outcomes: Promise<PromiseSettledResult<Uint8Array>[]>): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const outcome of await outcomes) {
    const code = outcome.status === 'fulfilled' ? 'signed' : outcome.reason.code
    counts[code] = (counts[code] ?? 0) + 1
  }
  return counts
}

function waiting(): number | undefined {
  return running?.service.key(0).status().waiting
}

async function abandoned(): Promise<number> {
  const { values } = (await running?.metrics.signsAbandoned.get()) ?? { values: [] }
  return values.reduce((sum, { value }) => sum + value, 0)
}

function handshakes() {
  return uses.flatMap((use) => (use.kind === 'signature' && use.reason === 'handshake' ? [use] : []))
}
