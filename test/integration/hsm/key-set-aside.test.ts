/**
 * One key of a member fails for ever, the others do not: the member signs with those, tells which one it is and why, and
 * takes it back when it works again. The member is reached through faults that know the keys by their mechanisms.
 */

import { afterEach, beforeAll, describe, expect, test } from 'vitest'

import type { HsmStatus } from '../../../src/hsm/signing-service.ts'
import { Faults } from '../../support/p11-faults.ts'
import {
  eventually,
  expectDrawnChanges,
  firstScheme,
  signRequest,
  signUntil,
  stateChanges,
  type TestService,
  testService,
} from '../../support/signing.ts'
import { SoftHsm, type SoftToken } from '../../support/softhsm.ts'

const hsm = new SoftHsm()
const faults = new Faults(hsm, 'hsm-b')
const CKM_ECDSA = 0x1041
const CKM_RSA_PKCS_PSS = 0x0d
let token: SoftToken
let keys: readonly { readonly label: string; readonly spki: Uint8Array }[]
let running: TestService | undefined

beforeAll(() => {
  token = hsm.addToken('web')
  keys = [
    { label: 'ec', spki: token.generateKey({ label: 'ec', id: '01', type: 'EC:prime256v1' }) },
    { label: 'rsa', spki: token.generateKey({ label: 'rsa', id: '02', type: 'rsa:2048' }) },
  ]
  return () => hsm.remove()
})

afterEach(async () => {
  await running?.service.close()
  faults.clear()
  if (running !== undefined) expectDrawnChanges(running)
})

describe.each([
  'CKR_SESSION_HANDLE_INVALID',
  'CKR_USER_NOT_LOGGED_IN',
  'CKR_OBJECT_HANDLE_INVALID',
  'CKR_CRYPTOKI_NOT_INITIALIZED',
  'CKR_DEVICE_ERROR',
])('%s for one of two keys', (name) => {
  test('sets it aside after one climb; the member signs with the other, and with both when it is over', async () => {
    const { service, lines } = await start(['hsm-b'])
    const host = status().pid

    faults.set(`C_SignInit rv ${name} mechanism ${CKM_ECDSA}`)
    const failing = Array.from({ length: 4 }, () =>
      signUntil(service.key(0), () => false, 1).catch(({ code }) => code),
    )
    await eventually(() => status().keys[0]?.state === 'set-aside', 'the key is set aside')

    expect(status()).toMatchObject({
      state: 'up',
      keys: [
        { ready: false, error: expect.stringContaining(name), until: expect.stringMatching(/^\d{4}-/) },
        { state: 'ready', ready: true, error: undefined, until: undefined },
      ],
    })
    const rungs = rungsTaken().length
    const untilMs = performance.now() + 2_000
    expect(await signUntil(service.key(1), () => performance.now() > untilMs, 2)).toBeGreaterThan(0)
    // Its test signatures have failed several times meanwhile, and nobody has climbed for that.
    expect(rungsTaken().length).toBe(rungs)
    expect(status()).toMatchObject({ state: 'up', pid: host, restarts: 0 })
    expect(lines.filter((line) => line.includes('is set aside')).length).toBe(1)
    expect(lines.join()).toMatch(/the key pkcs11:object=ec;type=private is set aside/)
    expect(new Set(await Promise.all(failing))).toEqual(new Set(['ERR_HSM_SIGN_TIMEOUT']))

    faults.clear()
    await eventually(() => status().keys[0]?.state === 'ready', 'the key is back')
    let signed = 0
    await signUntil(service.key(0), () => signed++ > 10, 1)
    expect(rungsTaken().length).toBe(rungs)
  })
})

test('while both keys fail nobody is set aside: it is the token, and the ladder goes on', async () => {
  await start(['hsm-b'])

  faults.set('C_SignInit rv CKR_SESSION_HANDLE_INVALID')
  let over = false
  const early = signUntil(key(0), () => over, 1).catch(() => {})
  await eventually(() => rungsTaken().includes('module'), 'the module is started anew')
  await eventually(() => (status().recovery?.attempts ?? 0) > 6, 'again and again')
  expect(status().keys.map(({ state, ready }) => [state, ready])).toEqual([
    ['waiting', false],
    ['waiting', false],
  ])
  faults.clear()
  over = true
  await early

  await eventually(() => status().keys.every(({ state }) => state === 'ready'), 'both keys sign')
  expect(status().restarts).toBe(0)
})

test('a key that fails now and then is not set aside, and one that another member signs with fails nobody', async () => {
  const { service } = await start(['hsm-a', 'hsm-b'])

  faults.set(`C_SignInit rv CKR_DEVICE_ERROR mechanism ${CKM_ECDSA}`)
  let over = false
  const load = [0, 1].map((index) => signUntil(service.key(index), () => over, 4))
  await eventually(() => status().keys[0]?.state === 'set-aside', 'the key is set aside')
  expect(status()).toMatchObject({ state: 'up', keys: [{}, { state: 'ready' }] })
  faults.set(`C_SignInit rv CKR_DEVICE_ERROR mechanism ${CKM_ECDSA} probability 0.2`)
  await eventually(() => status().keys[0]?.state === 'ready', 'the key is back')
  over = true

  for (const signed of await Promise.all(load)) expect(signed).toBeGreaterThan(0)
})

test('a key that the HSM suddenly does not permit to sign is not thought ready, and is found again afterwards', async () => {
  const { service } = await start(['hsm-b'])

  faults.set(`C_SignInit rv CKR_KEY_FUNCTION_NOT_PERMITTED mechanism ${CKM_ECDSA}`)
  const failing = Array.from({ length: 4 }, () =>
    service
      .key(0)
      .sign(signRequest(firstScheme(service.key(0))))
      .catch(() => {}),
  )
  await eventually(() => status().keys[0]?.state === 'set-aside', 'the key is set aside')
  expect(service.key(0).ready).toBe(false)
  expect(status()).toMatchObject({ state: 'up', keys: [{}, { state: 'ready' }], restarts: 0 })

  faults.clear()
  await eventually(() => service.key(0).ready, 'the key is back')
  await Promise.all(failing)
})

test('a member that suddenly cannot sign with any key is opened anew', async () => {
  running = testService({ hsms: [member('hsm-b')], keys: keys.slice(0, 1) })
  const { service } = running
  expect(await service.start()).toEqual([])

  faults.set('C_SignInit rv CKR_KEY_TYPE_INCONSISTENT')
  const failing = Array.from({ length: 4 }, () =>
    service
      .key(0)
      .sign(signRequest(firstScheme(service.key(0))))
      .catch(() => {}),
  )
  await eventually(() => status().state !== 'up', 'the member is out of service')
  await eventually(() => status().restarts === 1 && status().state === 'resting', 'another host has tried')
  faults.clear()

  await eventually(() => status().state === 'up', 'it is up again')
  await Promise.all(failing)
  await service.key(0).sign(signRequest(firstScheme(service.key(0))))
})

test('a scheme that the HSM suddenly cannot do is not asked of it any more', async () => {
  const { service, lines } = await start(['hsm-b'])
  const key = service.key(1)
  const pss = key.schemes.filter(({ name }) => name.startsWith('rsa_pss'))
  const [scheme] = pss
  if (scheme === undefined) throw new Error('the key has no PSS')

  faults.set(`C_SignInit rv CKR_MECHANISM_PARAM_INVALID mechanism ${CKM_RSA_PKCS_PSS}`)
  for (let tries = 0; tries < 3; tries++)
    await key.sign(signRequest(scheme, { timeoutMs: 200 })).catch(() => {})

  await eventually(() => !key.schemes.includes(scheme), 'the scheme is gone')
  expect(key.ready).toBe(true)
  expect(lines.join()).toContain(`it is not asked for ${scheme.name} with this key`)
})

test('a test signature that fails once when a member comes up costs its key no more than a moment', async () => {
  faults.set(`C_SignInit rv CKR_DEVICE_ERROR mechanism ${CKM_ECDSA} times 1`)
  const { service } = testService({ hsms: [member('hsm-b')], keys })
  running = { service, lines: [], metrics: testService({ hsms: [], keys: [] }).metrics }

  expect(await service.start()).toMatchObject([{ code: 'ERR_HSM_FAILED' }])

  expect(status()).toMatchObject({ state: 'up', keys: [{ state: 'set-aside' }, { state: 'ready' }] })
  await eventually(() => status().keys[0]?.state === 'ready', 'the key is ready')
})

test('a member that is asked for nothing stays up while one of its keys is tested in vain', async () => {
  const { service, lines } = await start(['hsm-b'])
  faults.set(`C_SignInit rv CKR_DEVICE_ERROR mechanism ${CKM_ECDSA}`)
  const failing = Array.from({ length: 4 }, () => signUntil(service.key(0), () => false, 1).catch(() => {}))
  await eventually(() => status().keys[0]?.state === 'set-aside', 'the key is set aside')
  await Promise.all(failing)
  const before = stateChanges(lines).length

  const tests = faults.calls('C_SignInit')
  await eventually(() => faults.calls('C_SignInit') >= tests + 5, 'five tests have failed', 15_000)

  expect(stateChanges(lines).slice(before)).toEqual([])
}, 25_000)

test('a member comes up whose keys fail more tests at once than it opens sessions in a turn', async () => {
  const more = ['03', '04'].map((id) => {
    return { label: `rsa${id}`, spki: token.generateKey({ label: `rsa${id}`, id, type: 'rsa:2048' }) }
  })
  faults.set(`C_SignInit rv CKR_MECHANISM_INVALID mechanism ${CKM_RSA_PKCS_PSS}`)
  const hsms = [token.hsmOptions({ name: 'hsm-b', sessions: 32, ...faults.options })]
  running = testService({ hsms, keys: [...keys.slice(1), ...more] })

  expect(await running.service.start()).toEqual([])

  expect(status()).toMatchObject({ state: 'up', restarts: 0 })
  expect(running.service.key(2).schemes.map(({ name }) => name)).toContain('rsa_pkcs1_sha256')
})

async function start(names: readonly string[]): Promise<TestService> {
  running = testService({ hsms: names.map(member), keys })
  expect(await running.service.start()).toEqual([])
  return running
}

function member(name: string) {
  return token.hsmOptions({ name, sessions: 8, ...(name === 'hsm-b' ? faults.options : {}) })
}

function key(index: number) {
  if (running === undefined) throw new Error('not started')
  return running.service.key(index)
}

/** Of hsm-b. */
function status(): HsmStatus {
  const found = running?.service.status().find(({ name }) => name === 'hsm-b')
  if (found === undefined) throw new Error('no hsm-b')
  return found
}

/** In the order of the log. */
function rungsTaken(): readonly string[] {
  return (running?.lines ?? [])
    .map((line): unknown => JSON.parse(line))
    .flatMap((line) =>
      typeof line === 'object' && line !== null && 'rung' in line && typeof line.rung === 'string'
        ? [line.rung]
        : [],
    )
}
