/**
 * An HSM that answers "busy" is asked for less until it has recovered, and nobody who waits for a signature notices as long as
 * another member has room.
 */

import { afterEach, beforeAll, expect, test } from 'vitest'

import type { HsmStatus } from '../../../src/hsm/signing-service.ts'
import { Faults } from '../../support/p11-faults.ts'
import { eventually, signUntil, type TestService, testService } from '../../support/signing.ts'
import { SoftHsm, type SoftToken } from '../../support/softhsm.ts'

const SESSIONS = 16

const hsm = new SoftHsm()
const faults = new Faults(hsm, 'hsm-b')
let token: SoftToken
let spki: Uint8Array
let running: TestService | undefined

beforeAll(() => {
  token = hsm.addToken('web')
  spki = token.generateKey({ label: 'ec', id: '01', type: 'EC:prime256v1' })
  return () => hsm.remove()
})

afterEach(async () => {
  await running?.service.close()
  faults.clear()
})

test('a rate cap brings the limit down within a second and fails nobody; without it the limit comes back', async () => {
  const { service, metrics, lines } = await start(['hsm-a', 'hsm-b'])
  let over = false
  const load = signUntil(service.key(0), () => over, 2 * SESSIONS)
  await eventually(() => status().inFlightLimit === SESSIONS, 'all sessions are used')

  const cappedAtMs = performance.now()
  faults.set('C_Sign rate 40')
  await eventually(() => status().inFlightLimit <= 2, 'the limit is down')
  expect(performance.now() - cappedAtMs).toBeLessThan(1_500)
  const logged = lines.length
  await eventually(() => performance.now() - cappedAtMs > 4_000, 'four seconds have passed')

  expect(status().requestsPerSecond).toBeGreaterThan(40)
  // It signs what it may, so it has neither rested nor recovered.
  expect(status().state).toBe('up')
  expect(lines.slice(logged)).toEqual([])
  const { values } = await metrics.hsmThrottled.get()
  expect(values).toMatchObject([{ labels: { hsm: 'hsm-b' }, value: expect.any(Number) }])

  faults.clear()
  await eventually(() => status().requestsPerSecond === undefined, 'it is asked as often as it can sign')
  await eventually(() => status().inFlightLimit === SESSIONS, 'all sessions are used again', 20_000)
  over = true

  expect(await load).toBeGreaterThan(0)
  await eventually(() => status().inFlight === 0, 'nothing is in flight')
})

test('a single member with a rate cap signs as much as it may, with fewer requests in vain than signatures', async () => {
  faults.set('C_Sign rate 50')
  const { service, metrics } = await start(['hsm-b'])
  const stopMs = performance.now() + 3_000

  const signed = await signUntil(service.key(0), () => performance.now() > stopMs, 8)

  expect(signed).toBeGreaterThan(100)
  // Eight who ask again at once would be refused thousands of times.
  expect((await metrics.hsmThrottled.get()).values[0]?.value).toBeLessThan(signed)
})

test('a throttled member that calls it an operation that is active is left open', async () => {
  const { service } = await start(['hsm-b'])
  const logins = faults.calls('C_Login')

  // As CloudHSM does; a session with an operation left behind says the same, and a fresh one does not.
  faults.set('C_Sign rv CKR_OPERATION_ACTIVE probability 0.3')
  const stopMs = performance.now() + 4_000
  const signed = await signUntil(service.key(0), () => performance.now() > stopMs, 4)

  expect(signed).toBeGreaterThan(50)
  expect(faults.calls('C_Login')).toBe(logins)
  expect(status().restarts).toBe(0)
})

test('one that answers nothing but busy rests at last, and comes back by its test signature', async () => {
  const { service } = await start(['hsm-a', 'hsm-b'])
  let over = false
  const load = signUntil(service.key(0), () => over, 4)

  faults.set('C_Sign rv CKR_FUNCTION_FAILED')
  await eventually(() => status().state !== 'up', 'hsm-b is out of service')
  faults.clear()
  await eventually(() => status().state === 'up', 'hsm-b is up again')
  over = true

  expect(await load).toBeGreaterThan(0)
})

/** hsm-a goes straight to SoftHSM, hsm-b through the faults. */
async function start(names: readonly string[]): Promise<TestService> {
  const members = names.map((name) =>
    token.hsmOptions({ name, sessions: SESSIONS, ...(name === 'hsm-b' ? faults.options : {}) }),
  )
  // Long enough for a second without a signature from the only member.
  running = testService({ hsms: members, keys: [{ label: 'ec', spki }], signing: { timeoutMs: 5_000 } })
  expect(await running.service.start()).toEqual([])
  return running
}

/** Of hsm-b. */
function status(): HsmStatus {
  const found = running?.service.status().find((member) => member.name === 'hsm-b')
  if (found === undefined) throw new Error('there is no hsm-b')
  return found
}
