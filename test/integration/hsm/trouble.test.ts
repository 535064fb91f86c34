/**
 * Two members on one SoftHSM token, one or both behind the fault module, under signing load. The claim is always the
 * same: as long as one member lives, whoever waits for a signature gets it.
 */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'

import type { HsmStatus } from '../../../src/hsm/signing-service.ts'
import { type SignatureScheme, schemes } from '../../../src/signing.ts'
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
  if (running !== undefined) expectDrawnChanges(running)
})

describe('two members, under load', () => {
  test('kill -9 of one host fails no signature, and its successor signs', async () => {
    const { service } = await start()
    const killed = pid('hsm-b')

    const load = signUntil(
      service.key(0),
      () => status('hsm-b').restarts === 1 && status('hsm-b').state === 'up',
    )
    await signUntil(service.key(0), () => status('hsm-b').sessions.open > 0)
    process.kill(killed, 'SIGKILL')

    expect(await load).toBeGreaterThan(0)
    expect(pid('hsm-b')).not.toBe(killed)
    await expectNothingInFlight()
  })

  test('a module that crashes the host fails no signature', async () => {
    const { service } = await start()

    faults.set('C_Sign crash times 1')
    const load = signUntil(service.key(0), () => status('hsm-b').restarts >= 1)
    await eventually(() => status('hsm-b').restarts >= 1, 'hsm-b is started again')
    faults.clear()

    expect(await load).toBeGreaterThan(0)
    expect(status('hsm-b').lastError?.message).toMatch(/SIGSEGV|in flight/)
  })

  test('a member that hangs costs a hedge, then its host is killed and started again', async () => {
    const { service, metrics } = await start({ timeoutMs: 1500 })
    const hung = pid('hsm-b')

    faults.set('C_Sign hang')
    const load = signUntil(service.key(0), () => status('hsm-b').pid !== hung, 4)
    await eventually(() => status('hsm-b').pid !== hung, 'the hung host is gone')
    faults.clear()

    expect(await load).toBeGreaterThan(0)
    const { values } = await metrics.signHedges.get()
    expect(values.find(({ labels }) => labels.hsm === 'hsm-b')?.value).toBeGreaterThan(0)
    await eventually(() => status('hsm-b').state === 'up', 'hsm-b is up again')
    await expectNothingInFlight()
  })

  test('a member that is full of calls that hang is taken out for its silence, though nobody asks it any more', async () => {
    const { service } = await start({ timeoutMs: 15_000 })

    faults.set('C_Sign hang')
    const load = signUntil(service.key(0), () => status('hsm-b').state !== 'up')
    // Before its host is killed, at half of the time.
    await eventually(() => status('hsm-b').state !== 'up', 'hsm-b is taken out', 7000)

    expect(await load).toBeGreaterThan(0)
    expect(status('hsm-b').lastError?.message).toBe('hsm "hsm-b": does not answer any more')
  })

  test('calls that hang keep their sessions, and leave all others to those who wait', async () => {
    // Slow for so long that its host signs on libuv's pool only, where a call that hangs holds up no other.
    faults.set('C_Sign delay 1000')
    const { service, lines } = await start({ timeoutMs: 20_000 }, ['hsm-a', 'hsm-b'], 16)
    const key = service.key(0)
    const stopMs = performance.now() + 700
    await signUntil(key, () => performance.now() > stopMs, 2)
    const other = pid('hsm-a')
    // Every answer may move the limit, also one that comes late.
    await expectNothingInFlight()
    const places = status('hsm-b').inFlightLimit

    faults.set(`C_Sign hang times ${places}`, 'C_Sign delay 1000')
    await signUntil(key, () => stateChanges(lines).includes('up → resting'))
    await signUntil(key, () => status('hsm-b').state === 'up')
    expect(status('hsm-b').inFlight).toBeGreaterThanOrEqual(places)
    process.kill(other, 'SIGSTOP')

    let signed = 0
    expect(await signUntil(key, () => signed++ > 50)).toBeGreaterThan(50)
  })

  test('a slow member is hedged: nobody waits for its three seconds', async () => {
    const { service, metrics } = await start({ timeoutMs: 10_000 })
    const key = service.key(0)

    faults.set('C_Sign delay 3000000')
    const startedMs = performance.now()
    await key.sign(signRequest(firstScheme(key)))
    await key.sign(signRequest(firstScheme(key)))
    const tookMs = performance.now() - startedMs

    expect(tookMs).toBeLessThan(2900)
    const { values } = await metrics.signHedges.get()
    // On a busy machine hsm-a may be late as well.
    expect(values).toContainEqual({ labels: { hsm: 'hsm-b', reason: 'slow' }, value: 1 })
    await eventually(() => status('hsm-b').inFlight === 0, 'the late answer has come, and belongs to nobody')
  })

  test('a member that hangs is hedged also when it was asked because another was late, and that one has failed', async () => {
    const others = new Faults(hsm, 'hsm-c')
    const hsms = [
      token.hsmOptions({ name: 'hsm-b', ...faults.options }),
      token.hsmOptions({ name: 'hsm-c', ...others.options }),
      token.hsmOptions({ name: 'hsm-a' }),
    ]
    running = testService({ hsms, keys: [{ label: 'ec', spki }], signing: { timeoutMs: 20_000 } })
    expect(await running.service.start()).toEqual([])
    const key = running.service.key(0)

    faults.set('C_Sign delay 300000', 'C_Sign rv CKR_DEVICE_ERROR')
    others.set('C_Sign hang')
    const startedMs = performance.now()
    // hsm-b, then hsm-c, then hsm-a: turns begin in their order.
    await key.sign(signRequest(firstScheme(key), { timeoutMs: 20_000 }))

    // At half of the time its host would be killed.
    expect(performance.now() - startedMs).toBeLessThan(9_000)
    expect(status('hsm-c')).toMatchObject({ inFlight: 1, restarts: 0 })
  })

  test('a member that hangs is hedged again when whoever was asked instead has failed', async () => {
    const other = new Faults(hsm, 'hsm-c')
    const hsms = [
      token.hsmOptions({ name: 'hsm-b', ...faults.options }),
      token.hsmOptions({ name: 'hsm-c', ...other.options }),
    ]
    running = testService({ hsms, keys: [{ label: 'ec', spki }], signing: { timeoutMs: 20_000 } })
    expect(await running.service.start()).toEqual([])
    const key = running.service.key(0)

    faults.set('C_Sign hang')
    other.set('C_Sign rv CKR_FUNCTION_FAILED times 2')
    const startedMs = performance.now()
    await key.sign(signRequest(firstScheme(key), { timeoutMs: 20_000 }))

    // At half of the time the host that hangs would be killed.
    expect(performance.now() - startedMs).toBeLessThan(9_000)
    expect(status('hsm-b')).toMatchObject({ inFlight: 1, restarts: 0 })
  })

  test('a front process that was held up blames nobody for what has been answered meanwhile', async () => {
    const { service, lines } = await start({ timeoutMs: 10_000 })
    const key = service.key(0)
    const signAll = () =>
      Promise.all(Array.from({ length: 8 }, () => key.sign(signRequest(firstScheme(key)))))
    for (let round = 0; round < 6; round++) {
      const signatures = [signAll(), afterThisTurn().then(signAll)]
      await afterThisTurn()
      await afterThisTurn()

      // Longer than a member may be silent.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400)

      await Promise.all(signatures)
    }

    expect(lines.filter((line) => line.includes('does not answer any more'))).toEqual([])
    expect(stateChanges(lines).filter((change) => change.startsWith('up → '))).toEqual([])
  })

  test('a wrong signature is asked of the other member, and who made it is taken out and named', async () => {
    const { service, lines } = await start({ verify: 'always' })

    faults.set('C_Sign wrong')
    await signUntil(service.key(0), () => status('hsm-b').state === 'resting', 2)

    expect(status('hsm-b').lastError).toMatchObject({ code: 'ERR_HSM_BAD_SIGNATURE' })
    expect(lines.join()).toContain('hsm \\"hsm-b\\": returned a wrong signature')
  })

  test('a signature too short to be one is never handed out', async () => {
    const { service } = await start()

    faults.set('C_Sign short')

    expect(await signUntil(service.key(0), () => status('hsm-b').state !== 'up', 2)).toBeGreaterThan(0)
    expect(status('hsm-b').lastError).toMatchObject({ code: 'ERR_HSM_BAD_SIGNATURE' })
  })

  test('a token with fewer sessions than configured signs with what there is', async () => {
    faults.set('C_OpenSession cap 3', 'C_Sign delay 2000')
    const { service } = await start()
    const settled = () => status('hsm-b').sessions.open === 2 && status('hsm-b').sessions.limit === 2

    expect(await signUntil(service.key(0), settled, 32)).toBeGreaterThan(0)

    expect(status('hsm-b').state).toBe('up')
  })

  test('sessions that others have given back are had a few seconds later', async () => {
    faults.set('C_OpenSession cap 3', 'C_Sign delay 2000')
    const { service } = await start()
    await signUntil(service.key(0), () => status('hsm-b').sessions.limit < 8, 32)

    faults.set('C_Sign delay 2000')

    await signUntil(service.key(0), () => status('hsm-b').sessions.open === 8, 32)
    expect(status('hsm-b').sessions.limit).toBe(8)
  })
})

test('with all members gone signatures wait, and are made when the first returns', async () => {
  const { service } = await start({ timeoutMs: 5000 }, ['hsm-b'])
  const key = service.key(0)
  faults.set('* removed')
  const waiting = Array.from({ length: 20 }, () =>
    key.sign(signRequest(firstScheme(key), { timeoutMs: 5000 })),
  )
  await eventually(() => status('hsm-b').state === 'recovering', 'hsm-b looks for its token')
  waiting.push(key.sign(signRequest(firstScheme(key), { timeoutMs: 5000 })))

  faults.clear()

  const signatures = await Promise.all(waiting)
  expect(signatures.length).toBe(21)
  await expectNothingInFlight()
})

test('a signature that only a member that is away can make holds up no other', async () => {
  const rsa = token.generateKey({ label: 'rsa', id: '02', type: 'rsa:2048' })
  const conf = join(hsm.directory, 'pkcs1.conf')
  writeFileSync(conf, `${readFileSync(hsm.conf, 'utf8')}slots.mechanisms = CKM_MD5,CKM_RSA_PKCS\n`)
  const pkcs1 = token.hsmOptions({ name: 'hsm-a', env: { SOFTHSM2_CONF: conf } })
  const hsms = [pkcs1, token.hsmOptions({ name: 'hsm-b', ...faults.options })]
  running = testService({ hsms, keys: [{ label: 'rsa', spki: rsa }] })
  expect(await running.service.start()).toEqual([])
  const key = running.service.key(0)
  const sign = (name: string) => key.sign(signRequest(schemeNamed(name)))
  faults.set('C_Initialize hang')
  process.kill(status('hsm-b').pid ?? 0, 'SIGKILL')
  await eventually(() => status('hsm-b').state === 'starting', 'hsm-b hangs')

  const waiting = sign('rsa_pss_rsae_sha256').catch(({ code }) => code)
  for (let i = 0; i < 3; i++) await sign('rsa_pkcs1_sha256')

  // Nobody was up for it in time; those three had their answers long before.
  expect(await waiting).toBe('ERR_HSM_SIGN_TIMEOUT')
})

describe('one member', () => {
  test('a signature in flight when the host is killed is made by the next host', async () => {
    const { service } = await start({}, ['hsm-b'])
    const key = service.key(0)
    faults.set('C_Sign delay 300000')

    const signing = key.sign(signRequest(firstScheme(key), { timeoutMs: 5000 }))
    await eventually(() => status('hsm-b').inFlight === 1, 'the request is sent')
    process.kill(pid('hsm-b'), 'SIGKILL')
    faults.clear()

    expect((await signing).length).toBeGreaterThan(0)
    expect(status('hsm-b').restarts).toBe(1)
  })

  test('a hung C_Sign ends with the deadline, once, and the host is replaced', async () => {
    const { service } = await start({ timeoutMs: 300 }, ['hsm-b'])
    const key = service.key(0)
    const hung = pid('hsm-b')
    faults.set('C_Sign hang')

    const signing = key.sign(signRequest(firstScheme(key), { timeoutMs: 300 }))

    // It would never end otherwise.
    await expect(signing).rejects.toMatchObject({ code: 'ERR_HSM_SIGN_TIMEOUT' })
    faults.clear()
    await eventually(() => status('hsm-b').state === 'up' && pid('hsm-b') !== hung, 'a new host is up')
    expect((await key.sign(signRequest(firstScheme(key)))).length).toBeGreaterThan(0)
    await expectNothingInFlight()
  })

  test('a host that answers nothing is replaced at half of the time, and the next one signs for who waits', async () => {
    const { service } = await start({ timeoutMs: 8000 }, ['hsm-b'])
    const key = service.key(0)
    faults.set('C_Sign hang')

    const signing = key.sign(signRequest(firstScheme(key), { timeoutMs: 8000 }))
    await delay(2000) // until the call hangs: the module does not tell
    faults.clear()

    expect((await signing).length).toBeGreaterThan(0)
    expect(status('hsm-b').restarts).toBe(1)
    expect(running?.lines.join()).toContain('nothing was answered for more than 4000 ms')
  })

  test('a host that always takes longer than that is slow, and goes on', async () => {
    faults.set('C_Sign delay 1700000')
    const { service } = await start({ timeoutMs: 3000 }, ['hsm-b'])
    const key = service.key(0)

    for (let n = 0; n < 3; n++) await key.sign(signRequest(firstScheme(key), { timeoutMs: 3000 }))

    expect(status('hsm-b')).toMatchObject({ state: 'up', restarts: 0 })
  })

  test('a host whose token opens slowly is waited for until the deadline: the next one would come too late', async () => {
    faults.set('C_Login delay 300000')
    const { service } = await start({ timeoutMs: 1000 }, ['hsm-b'])
    const key = service.key(0)
    faults.set('C_Sign hang')

    const signing = key.sign(signRequest(firstScheme(key), { timeoutMs: 1000 }))

    await expect(signing).rejects.toMatchObject({ code: 'ERR_HSM_SIGN_TIMEOUT' })
    faults.clear()
    await eventually(
      () => status('hsm-b').restarts === 1 && status('hsm-b').state === 'up',
      'a new host is up',
    )
    expect(running?.lines.join()).toContain('a signature took more than 1000 ms')
  })

  test('past the queue bound a signature is refused at once, and those that wait are made', async () => {
    const { service } = await start({ queue: 3 }, ['hsm-b'], 2)
    const key = service.key(0)
    faults.set('C_Sign delay 50000')

    const outcomes = await Promise.allSettled(
      Array.from({ length: 8 }, () => key.sign(signRequest(firstScheme(key)))),
    )

    const refused = outcomes.filter((outcome) => outcome.status === 'rejected')
    expect(refused.map(({ reason }) => reason.code)).toEqual(Array(3).fill('ERR_HSM_SESSIONS_EXHAUSTED'))
    expect(outcomes.slice(0, 5).every((outcome) => outcome.status === 'fulfilled')).toBe(true)
  })

  test('close() rejects what waits, ends the host, and may be called twice', async () => {
    const { service } = await start({}, ['hsm-b'], 1)
    const key = service.key(0)
    faults.set('C_Sign delay 200000')
    const host = pid('hsm-b')
    const outcomes = Promise.allSettled(
      Array.from({ length: 3 }, () => key.sign(signRequest(firstScheme(key)))),
    )

    const closing = service.close()

    expect(service.close()).toBe(closing)
    await closing
    expect((await outcomes).map((outcome) => outcome.status === 'rejected' && outcome.reason.code)).toEqual(
      Array(3).fill('ERR_HSM_CLOSED'),
    )
    await expect(key.sign(signRequest(firstScheme(key)))).rejects.toMatchObject({ code: 'ERR_HSM_CLOSED' })
    expect(() => process.kill(host, 0)).toThrow('ESRCH')
    expect(status('hsm-b')).toMatchObject({ state: 'closed', inFlight: 0, pid: undefined })
  })
})

/** hsm-a goes straight to SoftHSM, hsm-b through the faults. */
async function start(
  signing: { timeoutMs?: number; queue?: number; verify?: 'auto' | 'always' } = {},
  names: readonly string[] = ['hsm-a', 'hsm-b'],
  sessions = 8,
): Promise<TestService> {
  const members = names.map((name) =>
    token.hsmOptions({ name, sessions, ...(name === 'hsm-b' ? faults.options : {}) }),
  )
  running = testService({ hsms: members, keys: [{ label: 'ec', spki }], signing })
  expect(await running.service.start()).toEqual([])
  return running
}

function schemeNamed(name: string): SignatureScheme {
  const found = schemes.find((scheme) => scheme.name === name)
  if (found === undefined) throw new Error(`no scheme ${name}`)
  return found
}

function status(name: string): HsmStatus {
  const found = running?.service.status().find((member) => member.name === name)
  if (found === undefined) throw new Error(`no member ${name}`)
  return found
}

function pid(name: string): number {
  return status(name).pid ?? 0
}

/** What was asked for in this turn of the event loop has been sent. */
function afterThisTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

async function expectNothingInFlight(): Promise<void> {
  await eventually(() => status('hsm-b').inFlight === 0, 'nothing is in flight')
}
