/**
 * Keys and HSMs change while signatures are made: what is as before goes on in its host, what is new is proved beside it,
 * and what is wrong changes nothing. Real SoftHSM tokens; hosts are counted as processes.
 */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { HsmOptions } from '../../../src/hsm/options.ts'
import type { SigningChange, SigningState } from '../../../src/hsm/signing-service.ts'
import { Faults } from '../../support/p11-faults.ts'
import { descendants } from '../../support/process-tree.ts'
import {
  eventually,
  firstScheme,
  signRequest,
  signUntil,
  type TestService,
  testService,
  verifies,
} from '../../support/signing.ts'
import { SoftHsm, type SoftToken } from '../../support/softhsm.ts'

const LIMIT_MS = 10_000
const LINGER_MS = 300

const hsm = new SoftHsm()
const faults = new Faults(hsm, 'hsm-a')
let token: SoftToken
let away: SoftToken
const keys = new Map<string, Buffer>()
let running: TestService

beforeAll(() => {
  token = hsm.addToken('web')
  away = hsm.addToken('other')
  keys.set('ec', token.generateKey({ label: 'ec', id: '01', type: 'EC:prime256v1' }))
  keys.set('rsa', token.generateKey({ label: 'rsa', id: '02', type: 'rsa:2048' }))
  return () => hsm.remove()
})

beforeEach(async () => {
  running = testService({ hsms: [member()], keys: [{ label: 'ec', spki: spki('ec') }] })
  expect(await running.service.start()).toEqual([])
})

afterEach(async () => {
  await running.service.close()
  faults.clear()
})

test('the same keys in another order, or twice, touch no host', async () => {
  const pid = pidOf('hsm-a')
  const key = running.service.key(0)
  const change = running.service.change(state(['ec', 'ec']))
  await change.prove(LIMIT_MS)
  change.commit(LINGER_MS)

  expect(change.restarted).toEqual([])
  expect(running.service.key(0)).toBe(key)
  expect(running.service.key(1)).toBe(key)
  expect(pidOf('hsm-a')).toBe(pid)
  expect(running.service.lingering).toBe(0)
})

test('a new key of another type signs after the commit, and signatures under way do not fail', async () => {
  const [oldPid, oldKey] = [pidOf('hsm-a'), running.service.key(0)]
  let done = false
  const load = signUntil(oldKey, () => done)

  const change = running.service.change(state(['ec', 'rsa']))
  await change.prove(LIMIT_MS)
  expect(pidOf('hsm-a')).toBe(oldPid)
  // Longer than the load goes on.
  change.commit(10 * LINGER_MS)

  expect(change.restarted).toEqual(['hsm-a'])
  expect(pidOf('hsm-a')).not.toBe(oldPid)
  for (const [index, label] of ['ec', 'rsa'].entries()) expect(await signs(index, label)).toBe(true)
  done = true
  expect(await load).toBeGreaterThan(0)
  await eventually(() => running.service.lingering === 0, 'the old host has left')
  expect(isAlive(oldPid)).toBe(false)
  await expect(oldKey.sign(signRequest(firstScheme(oldKey)))).rejects.toMatchObject({
    code: 'ERR_HSM_CLOSED',
  })
})

describe('what is refused changes nothing', () => {
  test.each([
    [
      'a key that does not exist',
      { label: 'gone', spki: () => spki('rsa') },
      /no private key|not found|gone/,
    ],
    [
      "a key that is not the certificate's",
      { label: 'ec', spki: () => spki('rsa') },
      /not the certificate's/,
    ],
  ])('%s', async (_, wrong, reason) => {
    const pid = pidOf('hsm-a')
    const next = state(['ec'])
    const change = running.service.change({
      ...next,
      keys: [...next.keys, { key: keyOptions(wrong.label), spki: wrong.spki() }],
    })
    const hostsBefore = hosts()

    await expect(change.prove(LIMIT_MS)).rejects.toThrow(reason)
    await change.abandon()

    expect(pidOf('hsm-a')).toBe(pid)
    expect(await signs(0, 'ec')).toBe(true)
    expect(running.service.lingering).toBe(0)
    expect(hosts()).toEqual(hostsBefore)
  })

  test('a change that was given up cannot be committed', async () => {
    const change = running.service.change(state(['ec', 'rsa']))
    const proving = expect(change.prove(LIMIT_MS)).rejects.toMatchObject({ code: 'ERR_HSM_CLOSED' })
    await change.abandon()

    await proving
    expect(() => change.commit(LINGER_MS)).toThrow()
    expect(running.service.lingering).toBe(0)
  })
})

test('a member that is away does not block a key that another member signs with', async () => {
  const hsms = [member(), { ...away.hsmOptions(), name: 'hsm-b', token: { label: 'no such token' } }]
  const change = running.service.change({ ...state(['ec'], ['hsm-a', 'hsm-b']), hsms })
  await change.prove(LIMIT_MS)
  change.commit(LINGER_MS)

  expect(change.restarted).toEqual(['hsm-b'])
  expect(await signs(0, 'ec')).toBe(true)
})

test('gauges are those of the present member, not of one that is proved or has left', async () => {
  const change = running.service.change(state(['ec', 'rsa']))
  expect(await gauge('sealgate_hsm_up')).toBe(1)
  await change.prove(LIMIT_MS)
  change.commit(LINGER_MS)
  await eventually(() => running.service.lingering === 0, 'the old host has left')

  expect(await gauge('sealgate_hsm_up')).toBe(1)
  const { values } = await running.metrics.hsmState.get()
  expect(values.filter(({ value }) => value === 1).map(({ labels }) => labels.state)).toEqual(['up'])

  const without = running.service.change({ ...state([]), hsms: [] })
  await without.prove(LIMIT_MS)
  without.commit(0)
  await eventually(() => running.service.lingering === 0, 'no host is left')
  expect((await running.metrics.hsmUp.get()).values).toEqual([])
})

test('keys that could not be looked for a moment ago are looked for again', async () => {
  await running.service.close()
  faults.set('C_FindObjectsInit rv CKR_FUNCTION_FAILED times 1')
  running = testService({
    hsms: [member()],
    keys: [
      { label: 'ec', spki: spki('ec') },
      { label: 'rsa', spki: spki('rsa') },
    ],
  })

  await running.service.start()

  await eventually(() => running.service.problems().length === 0, 'both keys sign')
})

test('a key that was not on the token when it was opened is looked for again by the next change', async () => {
  const later = token.generateKey({ label: 'later', id: '03', type: 'EC:prime256v1' })
  token.tool(['--login', '--pin', token.pin, '--delete-object', '--type', 'privkey', '--id', '03'])
  keys.set('later', later)
  const first = running.service.change(state(['ec', 'later']))
  await first.prove(LIMIT_MS).catch(() => {})
  first.commit(LINGER_MS)
  expect(running.service.problems()).toMatchObject([{ code: 'ERR_HSM_KEY_NOT_FOUND' }])

  const again = running.service.change(state(['ec', 'later']))

  expect(again.restarted).toEqual(['hsm-a'])
  await again.abandon()
})

test('a PIN that was refused is not tried again by the next change, until its file has changed', async () => {
  const pinFile = join(hsm.directory, 'changing.pin')
  writeFileSync(pinFile, '00000000\n')
  const next = { ...state(['ec']), hsms: [{ ...member(), pin: { file: pinFile } }] }
  const before = faults.calls('C_Login')
  await expect(abandoned(running.service.change(next))).rejects.toMatchObject({ code: 'ERR_HSM_PIN' })
  expect(faults.calls('C_Login') - before).toBe(1)

  for (let attempt = 0; attempt < 3; attempt++) {
    expect(() => running.service.change(next)).toThrow(/not tried again/)
  }
  expect(faults.calls('C_Login') - before).toBe(1)
  expect(running.service.lingering).toBe(0)

  writeFileSync(pinFile, `${token.pin}\n`)
  const change = running.service.change(next)
  await change.prove(LIMIT_MS)
  change.commit(LINGER_MS)
  expect(await signs(0, 'ec')).toBe(true)
  token.tool(['--login', '--pin', token.pin, '--list-objects'])
})

test('a member that has given up over its PIN tries again when the file has changed, and not before', async () => {
  const pinFile = join(hsm.directory, 'later.pin')
  writeFileSync(pinFile, '00000000\n')
  const second = { ...member(), name: 'hsm-b', pin: { file: pinFile } }
  const next = { ...state(['ec'], ['hsm-a', 'hsm-b']), hsms: [member(), second] }
  const before = faults.calls('C_Login')
  const first = running.service.change(next)
  await first.prove(LIMIT_MS)
  first.commit(LINGER_MS)
  await eventually(() => stateOf('hsm-b') === 'failed', 'the PIN is refused')

  const same = running.service.change(next)
  expect(same.restarted).toEqual([])
  same.commit(LINGER_MS)
  expect(faults.calls('C_Login') - before).toBe(1)

  writeFileSync(pinFile, `${token.pin}\n`)
  const cured = running.service.change(next)
  expect(cured.restarted).toEqual(['hsm-b'])
  await cured.prove(LIMIT_MS)
  cured.commit(LINGER_MS)
  await eventually(() => stateOf('hsm-b') === 'up', 'hsm-b signs')
  token.tool(['--login', '--pin', token.pin, '--list-objects'])
})

describe('a new host beside one that is up', () => {
  const pinFile = join(hsm.directory, 'second.pin')
  const behind = new Faults(hsm, 'hsm-b')
  const second = () => ({ ...token.hsmOptions(behind.options), name: 'hsm-b', pin: { file: pinFile } })
  const both = (labels: readonly string[]) => ({
    ...state(labels, ['hsm-a', 'hsm-b']),
    hsms: [member(), second()],
  })

  beforeEach(async () => {
    behind.clear()
    writeFileSync(pinFile, `${token.pin}\n`)
    const change = running.service.change(both(['ec']))
    await change.prove(LIMIT_MS)
    change.commit(LINGER_MS)
    await eventually(() => stateOf('hsm-b') === 'up', 'hsm-b signs')
    await eventually(() => running.service.lingering === 0, 'the host of before has gone')
  })

  test('whose PIN is refused keeps the change from being made, although another member signs', async () => {
    const pid = pidOf('hsm-b')
    writeFileSync(pinFile, '00000000\n')
    const before = behind.calls('C_Login')

    await expect(abandoned(running.service.change(both(['ec', 'rsa'])))).rejects.toMatchObject({
      code: 'ERR_HSM_PIN',
      message: expect.stringContaining('hsm "hsm-b": the token refused the PIN'),
    })

    expect(behind.calls('C_Login') - before).toBe(1)
    expect(stateOf('hsm-b')).toBe('up')
    expect(pidOf('hsm-b')).toBe(pid)
    expect(running.service.lingering).toBe(0)

    writeFileSync(pinFile, `${token.pin}\n`)
    const cured = running.service.change(both(['ec', 'rsa']))
    await cured.prove(LIMIT_MS)
    cured.commit(LINGER_MS)
    expect(stateOf('hsm-b')).toBe('up')
    expect(await signs(1, 'rsa')).toBe(true)
    token.tool(['--login', '--pin', token.pin, '--list-objects'])
  })

  test('whose HSM is merely away does not', async () => {
    behind.set('C_Initialize rv CKR_DEVICE_ERROR')

    const change = running.service.change(both(['ec', 'rsa']))
    await change.prove(LIMIT_MS)
    change.commit(LINGER_MS)

    expect(await signs(1, 'rsa')).toBe(true)
    behind.clear()
    await eventually(() => stateOf('hsm-b') === 'up', 'hsm-b is back')
  })
})

async function abandoned(change: SigningChange): Promise<void> {
  try {
    await change.prove(LIMIT_MS)
  } finally {
    await change.abandon()
  }
}

function member(): HsmOptions {
  return token.hsmOptions(faults.options)
}

function state(labels: readonly string[], hsms: readonly string[] = ['hsm-a']): SigningState {
  return {
    hsms: [member()],
    keys: labels.map((label) => ({ key: keyOptions(label, hsms), spki: spki(label) })),
    signing: { timeoutMs: 2000, queue: 1024, hedge: 'auto', verify: 'auto' },
  }
}

function keyOptions(label: string, hsms: readonly string[] = ['hsm-a']) {
  return { label, id: undefined, uri: `pkcs11:object=${label};type=private`, hsms }
}

function spki(label: string): Buffer {
  const found = keys.get(label)
  if (found === undefined) throw new Error(`no key ${label}`)
  return found
}

function stateOf(name: string): string | undefined {
  return running.service.status().find((each) => each.name === name)?.state
}

function pidOf(name: string): number {
  return running.service.status().find((each) => each.name === name)?.pid ?? 0
}

function hosts(): readonly number[] {
  return descendants(process.pid).filter(isHost)
}

/** A child that has ended stays a zombie until it is waited for, with an empty command line. */
function isHost(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('hsm/host/main')
  } catch {
    return false
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function signs(index: number, label: string): Promise<boolean> {
  const key = running.service.key(index)
  const request = signRequest(firstScheme(key))
  return verifies(spki(label), request.scheme, request.message, await key.sign(request))
}

async function gauge(name: string): Promise<number | undefined> {
  const metric = await running.metrics.registry.getSingleMetric(name)?.get()
  return metric?.values[0]?.value
}
