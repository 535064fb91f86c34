/**
 * A proxy must not lock a token: the exact number of C_Login calls, by process, for everything that can become of a PIN. The
 * token is real; the fault module counts, and says what a real one says only once before it is locked.
 *
 * hsm-a has a SoftHSM of its own: its logins would write the token anew that hsm-b opens, which costs openings and logins more.
 */

import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'

import type { HsmError } from '../../../src/errors.ts'
import type { HsmStatus } from '../../../src/hsm/signing-service.ts'
import { movableKey } from '../../support/movable-key.ts'
import { Faults } from '../../support/p11-faults.ts'
import {
  eventually,
  expectDrawnChanges,
  firstScheme,
  signRequest,
  signUntil,
  type TestService,
  testService,
} from '../../support/signing.ts'
import { SoftHsm, type SoftToken } from '../../support/softhsm.ts'

const PINO_INFO = 30
const COUNT_LOW = 0x10000
const FINAL_TRY = 0x20000
const LOCKED = 0x40000

const hsm = new SoftHsm()
const other = new SoftHsm()
const faults = new Faults(hsm, 'hsm-b')
const { pkcs8Pem, spki } = movableKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }))
let token: SoftToken
/** Of hsm-a. */
let otherToken: SoftToken
let running: TestService
let loginsBefore: number

beforeAll(() => {
  token = hsm.addToken('web')
  otherToken = other.addToken('web')
  for (const each of [token, otherToken]) each.importKey({ label: 'ec', id: '01', pkcs8Pem })
  return () => {
    hsm.remove()
    other.remove()
  }
})

beforeEach(() => {
  loginsBefore = faults.calls('C_Login')
})

afterEach(async () => {
  await running.service.close()
  faults.clear()
  expectDrawnChanges(running)
})

describe('at the start', () => {
  test('a wrong PIN: one login, ever', async () => {
    const wrong = join(hsm.directory, 'wrong.pin')
    writeFileSync(wrong, '00000000\n')

    await start({ pin: { file: wrong } })

    await expectOutForGood(1)
    // So that SoftHSM's own count of wrong PINs is none of the next test's.
    token.tool(['--login', '--pin', token.pin, '--list-objects'])
  })

  test.each([['CKR_PIN_INCORRECT'], ['CKR_PIN_LOCKED'], ['CKR_PIN_EXPIRED'], ['CKR_USER_TYPE_INVALID']])(
    'C_Login returns %s: one login, ever',
    async (name) => {
      faults.set(`C_Login rv ${name}`)

      await start()

      await expectOutForGood(1)
      expect(status().lastError?.message).toContain(name)
    },
  )

  test.each([
    ['one try is left', FINAL_TRY],
    ['it is locked', LOCKED],
  ])('the token says that %s: no login at all', async (_, flag) => {
    faults.set(`C_GetTokenInfo flags ${flag}`)

    await start()

    await expectOutForGood(0)
  })

  test('C_Login fails without a word about the PIN: one login for each host, since the PIN may be wrong', async () => {
    faults.set('C_Login rv CKR_DEVICE_ERROR')

    await start()
    await eventually(() => status().restarts >= 2, 'it was tried again by other hosts')
    faults.clear()
    await eventually(() => status().state === 'up', 'hsm-b is up')

    const callers = faults.callers('C_Login').slice(loginsBefore)
    expect(callers.length).toBeGreaterThan(2)
    expect(new Set(callers).size).toBe(callers.length)
  })

  test.each([['CKR_GENERAL_ERROR'], ['CKR_USER_PIN_NOT_INITIALIZED']])(
    'C_Login returns %s once, as SoftHSM does when another process logs in: a second login, and no word',
    async (name) => {
      faults.set(`C_Login rv ${name} times 1`)

      expect(await start()).toEqual([])

      expect(status()).toMatchObject({ state: 'up', restarts: 0, lastError: undefined })
      expect(logins()).toBe(2)
      expect(running.lines.filter((line) => JSON.parse(line).level > PINO_INFO)).toEqual([])
    },
  )

  test('a token that has a PIN, and says that it has none, twice: out for good', async () => {
    faults.set('C_Login rv CKR_USER_PIN_NOT_INITIALIZED')

    await start()

    await expectOutForGood(2)
    expect(status().lastError).toMatchObject({ code: 'ERR_HSM_PIN' })
  })

  test('CKR_GENERAL_ERROR for ever: two logins for each host', async () => {
    faults.set('C_Login rv CKR_GENERAL_ERROR')

    await start()
    await eventually(() => status().restarts >= 2, 'it was tried again by other hosts')
    faults.clear()
    await eventually(() => status().state === 'up', 'hsm-b is up')

    const callers = faults.callers('C_Login').slice(loginsBefore)
    for (const caller of callers) expect(callers.filter((pid) => pid === caller).length).toBeLessThan(3)
  })

  test.each([
    // The slots are looked at twice (SoftHSM has one more), then the token before the login, and after it.
    ['at once', 3],
    ['not before it is started anew', 4],
  ])(
    'the token has counted a wrong PIN, whatever C_Login returned, and says so %s: out for good',
    async (_, looks) => {
      faults.set('C_Login rv CKR_GENERAL_ERROR', `C_GetTokenInfo flags ${COUNT_LOW} after ${looks}`)

      await start()

      await expectOutForGood(1)
      expect(status().lastError).toMatchObject({ code: 'ERR_HSM_PIN' })
    },
  )

  test('a token that is away for long costs no login until it is back, and then one', async () => {
    faults.set('* removed')
    await start()
    await eventually(() => (status().recovery?.attempts ?? 0) > 3, 'hsm-b looks for its token')
    expect(logins()).toBe(0)

    faults.clear()
    await eventually(() => status().state === 'up', 'hsm-b is up')

    expect(logins()).toBe(1)
  })
})

describe('in a recovery', () => {
  test('a login that is refused now is made once, and the member is out for good', async () => {
    await start()
    expect(logins()).toBe(1)

    faults.set('* logout 1', 'C_Login rv CKR_PIN_INCORRECT')
    await signUntil(running.service.key(0), () => status().state === 'failed', 4)

    await expectOutForGood(2)
    expect(status().lastError?.code).toBe('ERR_HSM_PIN')
  })

  test.each([
    ['one try is left', FINAL_TRY],
    ['it is locked', LOCKED],
  ])('the token says by now that %s: no login is made', async (_, flag) => {
    await start()

    faults.set('* logout 2', `C_GetTokenInfo flags ${flag}`)
    await signUntil(running.service.key(0), () => status().state === 'failed', 4)

    await expectOutForGood(1)
  })

  test('a reboot costs one login, and so does a new process', async () => {
    await start()

    faults.set('* reboot 1')
    await signUntil(running.service.key(0), () => logins() === 2 && status().state === 'up', 4)
    const host = status().pid ?? 0
    process.kill(host, 'SIGKILL')
    await signUntil(running.service.key(0), () => status().pid !== host && status().state === 'up', 4)

    expect(logins()).toBe(3)
  })

  test('errors that no login cures log in once for each rung that does, in one process', async () => {
    await start()
    const host = status().pid

    // session; login (somebody is logged in already); keys; then the module, which has forgotten all logins.
    faults.set('C_Sign rv CKR_SESSION_HANDLE_INVALID')
    const load = signUntil(running.service.key(0), () => status().recovery?.rung === 'module', 4)
    expect(await load).toBeGreaterThan(0)
    faults.clear()
    await eventually(() => status().state === 'up', 'hsm-b is up')

    expect(status().pid).toBe(host)
    expect(logins()).toBe(1 + 1 + faults.callers('C_Initialize').filter((pid) => pid === host).length - 1)
  })
})

describe('a key that wants a login for every signature', () => {
  let always: Uint8Array

  beforeAll(() => {
    always = token.generateKey({ label: 'always', id: '02', type: 'EC:prime256v1', alwaysAuthenticate: true })
  })

  test('a PIN that is refused is tried once, however many signatures wait; another member makes them', async () => {
    const hsms = [
      token.hsmOptions({ name: 'hsm-b', sessions: 32, ...faults.options }),
      token.hsmOptions({ name: 'hsm-a' }),
    ]
    running = testService({ hsms, keys: [{ label: 'always', spki: always }] })
    expect(await running.service.start()).toEqual([])
    const before = faults.calls('C_Login')

    // The first turn opens no more than a few sessions: it is changed when the others wait. As many times as it takes until hsm-b was
    // asked more than four of them: a busy machine gives hsm-a more than its half.
    faults.set('C_Login rv CKR_PIN_INCORRECT after 4')
    const key = running.service.key(0)
    const giveUpMs = performance.now() + 10_000
    while (status().state !== 'failed' && performance.now() < giveUpMs) {
      const signatures = Array.from({ length: 16 }, () => key.sign(signRequest(firstScheme(key))))
      for (const signature of await Promise.all(signatures)) expect(signature.length).toBeGreaterThan(60)
    }
    expect(status().state).toBe('failed')

    expect(faults.calls('C_Login') - before).toBe(4 + 1)
  })
})

test('a PIN that the host of a new configuration was refused is not tried by the next host of the old one', async () => {
  await start()
  const { pid } = status()
  faults.set('C_Login rv CKR_PIN_INCORRECT')
  const state = {
    hsms: [otherToken.hsmOptions({ name: 'hsm-a' }), token.hsmOptions({ name: 'hsm-b', ...faults.options })],
    keys: [...Array.from({ length: 2 }).keys()].map((index) => ({
      key: {
        label: 'ec',
        id: undefined,
        uri: `pkcs11:object=ec;x-index=${index}`,
        hsms: index === 0 ? ['hsm-a', 'hsm-b'] : ['hsm-b'],
      },
      spki,
    })),
    signing: { timeoutMs: 2000, queue: 1024, hedge: 'auto', verify: 'auto' },
  } as const
  const change = running.service.change(state)
  await change.prove(5000).catch(() => {})
  await change.abandon()
  expect(logins()).toBe(2)

  process.kill(pid ?? 0, 'SIGKILL')
  await eventually(() => status().state === 'failed', 'hsm-b has given up')

  expect(logins()).toBe(2)
  expect(status().lastError?.message).toMatch(/its PIN was refused, and is not tried again/)
})

/** hsm-a signs whatever becomes of hsm-b. */
async function start(overrides: Parameters<SoftToken['hsmOptions']>[0] = {}): Promise<readonly HsmError[]> {
  const members = [
    otherToken.hsmOptions({ name: 'hsm-a' }),
    token.hsmOptions({ name: 'hsm-b', ...faults.options, ...overrides }),
  ]
  running = testService({ hsms: members, keys: [{ label: 'ec', spki }] })
  return running.service.start()
}

/** Longer than the longest pause before anything that is not for good, and hsm-a goes on. */
async function expectOutForGood(expectedLogins: number): Promise<void> {
  const untilMs = performance.now() + 1500
  expect(await signUntil(running.service.key(0), () => performance.now() > untilMs, 1)).toBeGreaterThan(0)
  expect(status()).toMatchObject({ state: 'failed', restarts: 0, pid: undefined })
  expect(logins()).toBe(expectedLogins)
}

function status(): HsmStatus {
  const found = running.service.status().find(({ name }) => name === 'hsm-b')
  if (found === undefined) throw new Error('no member hsm-b')
  return found
}

function logins(): number {
  return faults.calls('C_Login') - loginsBefore
}
