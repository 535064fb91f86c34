/**
 * The doctor and a module that misbehaves: whatever it does, it is named, the doctor ends in time, and no PIN is tried
 * twice.
 */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'

import { loadConfig } from '../../../src/config/load.ts'
import { examineConfig, examineModule } from '../../../src/doctor/doctor.ts'
import { type Finding, statusOf } from '../../../src/doctor/finding.ts'
import { Faults } from '../../support/p11-faults.ts'
import { Site } from '../../support/site.ts'
import { SoftHsm, type SoftToken } from '../../support/softhsm.ts'
import { CKR_NAMES } from './return-values.ts'

const UNAVAILABLE = 69
// The child process starts within it, on a machine with other work too.
const HANG_LIMIT_MS = 5000

let hsm: SoftHsm
let token: SoftToken
let faults: Faults

beforeAll(() => {
  hsm = new SoftHsm()
  token = hsm.addToken('web')
  token.generateKey({ label: 'web-ec', id: '01', type: 'EC:prime256v1' })
  token.generateKey({ label: 'web-rsa', id: '02', type: 'rsa:2048' })
  faults = new Faults(hsm, 'doctor')
})

beforeEach(() => faults.clear())

afterAll(() => hsm?.[Symbol.dispose]())

/** Every call that the doctor makes and the fault module can spoil. */
const CALLS = [
  'C_Initialize',
  'C_GetSlotList',
  'C_GetTokenInfo',
  'C_OpenSession',
  'C_Login',
  'C_FindObjectsInit',
  'C_FindObjects',
  'C_FindObjectsFinal',
  'C_GetAttributeValue',
  'C_SignInit',
  'C_Sign',
  'C_CloseSession',
  'C_Finalize',
] as const

test('without a fault there is no error, and every call that can be spoiled is made', async () => {
  const findings = await examine()

  expect(errors(findings)).toEqual([])
  expect(CALLS.filter((call) => faults.calls(call) === 0)).toEqual([])
  expect(messages(findings, 'ok').filter((text) => text.includes('verified by OpenSSL'))).toHaveLength(2)
})

describe.each(CALLS)('%s', (call) => {
  test('that never returns is named, in time', async () => {
    faults.set(`${call} hang`)
    const startedMs = performance.now()

    const findings = await examine(HANG_LIMIT_MS)

    expectError(findings, 'module.hung', call)
    expect(performance.now() - startedMs).toBeLessThan(20_000)
  })

  test('that crashes is named', async () => {
    faults.set(`${call} crash`)

    expectError(await examine(), 'module.crashed', call)
  })

  test('that ends the process is named', async () => {
    faults.set(`${call} exit 3`)

    expectError(await examine(), 'module.crashed', call)
  })

  test('that returns CKR_DEVICE_ERROR is named with it', async () => {
    faults.set(`${call} rv CKR_DEVICE_ERROR`)

    const said = (await examine()).filter(({ level }) => level === 'error' || level === 'note')

    expect(said.some(({ message }) => message.includes(call) && message.includes('CKR_DEVICE_ERROR'))).toBe(
      true,
    )
  })
})

test.each(CKR_NAMES)(
  'a C_Sign that returns %s is an error, and the doctor goes on to the other key',
  async (name) => {
    faults.set(`C_Sign rv ${name} times 1`)

    const findings = await examine()

    expect(errors(findings).filter((text) => text.includes(name))).toHaveLength(1)
    expect(messages(findings, 'ok').filter((text) => text.includes('verified by OpenSSL'))).not.toEqual([])
  },
)

test.each(['wrong', 'short'])('a signature that is %s is found out', async (fault) => {
  faults.set(`C_Sign ${fault}`)

  const findings = await examine()

  expect(ids(findings, 'error')).toContain('signature.wrong')
  expect(ids(findings, 'ok')).not.toContain('signature.verified')
})

// SoftHSM writes its token anew at every login of any process (src/hsm/host/opening-hiccups.ts).
test.each([
  'C_GetSlotList rv CKR_TOKEN_NOT_PRESENT times 3',
  'C_GetTokenInfo rv CKR_GENERAL_ERROR times 1',
  'C_Login rv CKR_GENERAL_ERROR times 1',
])('what somebody else who opens the token makes of it is not taken for its state: %s', async (rule) => {
  const without = await examine()
  faults.set(rule)

  const findings = await examine()

  expect(errors(findings)).toEqual([])
  expect(findings.map(({ id }) => id)).toEqual(without.map(({ id }) => id))
})

describe('the PIN', () => {
  test.each([
    ['CKF_USER_PIN_LOCKED', '0x40000', 'token.pin-locked', 'error'],
    ['CKF_USER_PIN_FINAL_TRY', '0x20000', 'token.pin-final-try', 'error'],
    ['CKF_USER_PIN_COUNT_LOW', '0x10000', 'token.pin-count-low', 'warning'],
  ] as const)('is not tried when the token says %s', async (_, flag, id, level) => {
    faults.set(`C_GetTokenInfo flags ${flag}`)
    const before = faults.calls('C_Login')

    const findings = await examine()

    expect(ids(findings, level)).toContain(id)
    expect(faults.calls('C_Login')).toBe(before)
  })

  test.each([
    'CKR_PIN_INCORRECT',
    'CKR_PIN_LOCKED',
    'CKR_PIN_EXPIRED',
    'CKR_DEVICE_ERROR',
    'CKR_FUNCTION_FAILED',
  ])('is tried once when C_Login returns %s', async (name) => {
    faults.set(`C_Login rv ${name}`)
    const before = faults.calls('C_Login')

    const findings = await examine()

    expect(errors(findings).filter((text) => text.includes(name))).toHaveLength(1)
    expect(faults.calls('C_Login')).toBe(before + 1)
  })

  test('is not tried when the token does not say how many tries are left', async () => {
    faults.set('C_GetTokenInfo rv CKR_DEVICE_ERROR')
    const before = faults.calls('C_Login')

    await examine()

    expect(faults.calls('C_Login')).toBe(before)
  })

  test('is not tried without a PIN, and nothing is made of that', async () => {
    const before = faults.calls('C_Login')

    const findings = await examine(undefined, false)

    expect(ids(findings, 'note')).toContain('login.no-pin')
    expect(statusOf(findings)).toBe(0)
    expect(faults.calls('C_Login')).toBe(before)
  })
})

test('a token that refused the PIN is not asked again under another name, however that is chosen', async () => {
  using site = new Site()
  const spoiled = new Faults(site.softHsm, 'spoiled')
  const member: Record<string, unknown> = { ...site.member(), ...spoiled.options }
  const { token: _, ...bySerial } = member
  const serial = /serial num *: *(\S+)/.exec(site.token.tool(['--list-token-slots']))?.[1]
  const certificate = site.certificate({ hsms: ['by-label', 'by-serial'] })
  const hsms = { 'by-label': member, 'by-serial': { ...bySerial, serial } }
  const file = join(site.directory, 'sealgate.yaml')
  writeFileSync(file, JSON.stringify(site.config([9], { hsms, certificates: [certificate] })))
  // Of a token whose flags do not tell of it.
  spoiled.set('C_Login rv CKR_PIN_INCORRECT')

  const findings = await examineConfig(await loadConfig(file), { limitMs: 20_000 })

  expect(ids(findings, 'error')).toContain('login.refused')
  expect(ids(findings, 'note')).toContain('login.no-pin')
  expect(spoiled.calls('C_Login')).toBe(1)
})

test('two sessions are all it needs beside the proxy', async () => {
  faults.set('C_OpenSession cap 2')

  expect(errors(await examine())).toEqual([])
})

test('a token that is gone is an error with what the module must be told', async () => {
  faults.set('* removed')

  const findings = await examine()

  expect(ids(findings, 'error')).toEqual(['token.none'])
  expect(findings.find(({ id }) => id === 'token.none')?.cure).toContain('SOFTHSM2_CONF')
})

test('a slow token is a warning, with the time', async () => {
  faults.set('C_Sign delay 1200000')

  const findings = await examine(10_000)

  expect(ids(findings, 'warning')).toContain('signature.slow')
}, 40_000)

function examine(limitMs = 10_000, login = true): Promise<readonly Finding[]> {
  const options = { ...token.hsmOptions(), ...faults.options }
  return examineModule({ hsm: options, keys: null, anyToken: false, login }, { limitMs })
}

function expectError(findings: readonly Finding[], id: string, call: string): void {
  const named = findings.filter((finding) => finding.id === id)
  expect(named).toHaveLength(1)
  expect(named[0]?.message).toContain(call)
  expect(named[0]?.cure).toBeTruthy()
  expect(statusOf(findings)).toBe(UNAVAILABLE)
}

function messages(findings: readonly Finding[], level: Finding['level']): string[] {
  return findings.filter((finding) => finding.level === level).map(({ message }) => message)
}

function errors(findings: readonly Finding[]): string[] {
  return messages(findings, 'error')
}

function ids(findings: readonly Finding[], level: Finding['level']): string[] {
  return findings.filter((finding) => finding.level === level).map(({ id }) => id)
}
