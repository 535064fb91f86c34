/** All members gone: who waits, waits up to the deadline; who comes later than that is told at once, and why. */

import { afterEach, beforeAll, expect, test } from 'vitest'

import { Faults } from '../../support/p11-faults.ts'
import { eventually, firstScheme, signRequest, type TestService, testService } from '../../support/signing.ts'
import { SoftHsm, type SoftToken } from '../../support/softhsm.ts'

const TIMEOUT_MS = 600

const hsm = new SoftHsm()
const faults = { a: new Faults(hsm, 'hsm-a'), b: new Faults(hsm, 'hsm-b') }
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
  faults.a.clear()
  faults.b.clear()
})

test('signatures wait a deadline long, then fail at once with the reasons, and are made within a second of the first return', async () => {
  const { service, metrics } = await start()
  const key = service.key(0)
  const sign = () => key.sign(signRequest(firstScheme(key), { timeoutMs: TIMEOUT_MS }))
  await sign()

  faults.a.set('* removed')
  faults.b.set('* removed')
  // The first ones meet members that still count as up; they are tried, and wait.
  const early = await settled(sign)
  expect(early.code).toMatch(/ERR_HSM_(SIGN_TIMEOUT|ALL_FAILED)/)
  await eventually(() => !key.ready, 'no member is ready')
  await eventually(() => outageMs() > TIMEOUT_MS, 'the outage is longer than a deadline')

  const late = await settled(sign)
  expect(late).toMatchObject({ code: 'ERR_HSM_ALL_FAILED' })
  expect(late.tookMs).toBeLessThan(TIMEOUT_MS)
  expect(late.message).toMatch(/no HSM signs with key pkcs11:object=ec;type=private since 20\d\d-/)
  expect(late.message).toMatch(/hsm "hsm-a" is \w+ since .*; hsm "hsm-b" is \w+ since /)
  expect(service.key(0).status()).toMatchObject({ membersReady: 0, members: 2, waiting: 0 })

  // Ten thousand are told the same, and nothing is kept of them.
  const refused = await Promise.all(Array.from({ length: 10_000 }, () => sign().catch(() => 'refused')))
  expect(new Set(refused)).toEqual(new Set(['refused']))
  expect(service.key(0).status().waiting).toBe(0)

  faults.b.clear()
  const returnedMs = performance.now()
  await eventually(() => key.ready, 'hsm-b is back')
  expect((await sign()).length).toBeGreaterThan(0)
  expect(performance.now() - returnedMs).toBeLessThan(2_500)
  expect(service.key(0).status()).toMatchObject({ membersReady: 1, outageSince: undefined })
  expect((await metrics.keyMembersReady.get()).values).toMatchObject([{ value: 1 }])
})

test('an outage shorter than the deadline fails nobody', async () => {
  const { service } = await start()
  const key = service.key(0)
  const sign = () => key.sign(signRequest(firstScheme(key), { timeoutMs: 5_000 }))

  faults.a.set('* removed')
  faults.b.set('* removed')
  const waiting = Array.from({ length: 20 }, sign)
  await eventually(() => !key.ready, 'no member is ready')
  const more = Array.from({ length: 20 }, sign)
  expect(service.key(0).status().waiting).toBeGreaterThan(0)
  faults.a.clear()

  expect(await Promise.all([...waiting, ...more])).toHaveLength(40)
  expect(service.key(0).status()).toMatchObject({ waiting: 0, membersReady: 1 })
})

function outageMs(): number {
  const since = running?.service.key(0).status().outageSince
  return since === undefined ? 0 : Date.now() - Date.parse(since)
}

async function settled(sign: () => Promise<Uint8Array>) {
  const startedMs = performance.now()
  const error: unknown = await sign().catch((reason: unknown) => reason)
  if (!(error instanceof Error) || !('code' in error)) throw new Error('it was signed')
  return { code: error.code, message: error.message, tookMs: performance.now() - startedMs }
}

async function start(): Promise<TestService> {
  const members = Object.values(faults).map(({ options }, index) =>
    token.hsmOptions({ name: ['hsm-a', 'hsm-b'][index] ?? '', ...options }),
  )
  running = testService({ hsms: members, keys: [{ label: 'ec', spki }], signing: { timeoutMs: TIMEOUT_MS } })
  expect(await running.service.start()).toEqual([])
  return running
}
