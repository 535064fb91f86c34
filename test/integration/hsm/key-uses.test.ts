/** Every use of a key is told once: what the module was asked for is what the audit log will hold. */

import { generateKeyPairSync } from 'node:crypto'
import { afterEach, beforeEach, expect, test } from 'vitest'

import type { KeyUse, LoginUse, SignatureUse } from '../../../src/hsm/key-use.ts'
import type { SigningService } from '../../../src/hsm/signing-service.ts'
import { movableKey } from '../../support/movable-key.ts'
import { Faults } from '../../support/p11-faults.ts'
import { eventually, firstScheme, handshakeMessage, signRequest, testService } from '../../support/signing.ts'
import { SoftHsm } from '../../support/softhsm.ts'

// One for each: a login writes a token anew, and whoever logs in to the same one at that moment has to do it twice.
let softHsms: readonly SoftHsm[] = []
let a: Faults
let b: Faults
let service: SigningService
let metrics: ReturnType<typeof testService>['metrics']
let uses: KeyUse[]

beforeEach(async () => {
  const { pkcs8Pem, spki } = movableKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }))
  const [forA, forB] = [new SoftHsm(), new SoftHsm()]
  softHsms = [forA, forB]
  const [tokenOfA, tokenOfB] = [forA.addToken('web'), forB.addToken('web')]
  for (const token of [tokenOfA, tokenOfB]) token.importKey({ label: 'ec', id: '01', pkcs8Pem })
  a = new Faults(forA, 'hsm-a')
  b = new Faults(forB, 'hsm-b')
  uses = []
  const started = testService({
    hsms: [tokenOfA.hsmOptions(a.options), tokenOfB.hsmOptions({ name: 'hsm-b', ...b.options })],
    keys: [{ label: 'ec', spki }],
    onUse: (use) => uses.push(use),
  })
  service = started.service
  metrics = started.metrics
  await service.start()
  await eventually(() => service.status().every(({ state }) => state === 'up'), 'both members are up')
})
afterEach(async () => {
  await service?.close()
  for (const softHsm of softHsms) softHsm.remove()
})

test('each C_Sign of the module has its use, test signatures and logins among them', async () => {
  await sign(40)

  await untilAllTold()
  expect(signatures('handshake').filter(({ used }) => used)).toHaveLength(40)
  expect(signatures('handshake').every(({ result }) => result === 'ok')).toBe(true)
  expect(new Set(signatures('handshake').map(({ hsm }) => hsm))).toEqual(new Set(['hsm-a', 'hsm-b']))
  expect(signatures('test').every(({ connection, used }) => connection === undefined && !used)).toBe(true)
  const logins = uses.filter((use): use is LoginUse => use.kind === 'login')
  expect(logins.map(({ result }) => result)).toEqual(
    Array(a.calls('C_Login') + b.calls('C_Login')).fill('ok'),
  )
})

test('a hedge that comes second is told too: made, and used by nobody', async () => {
  b.set('C_Sign delay 400000')
  await sign(8)
  b.clear()
  await untilAllTold()

  const late = signatures('handshake').filter(({ used }) => !used)
  expect(late.some(({ hsm, latencyMs }) => hsm === 'hsm-b' && latencyMs >= 390)).toBe(true)
  expect(late.every(({ result }) => result === 'ok')).toBe(true)
  // Of the two that a hedged signature has, one is used.
  expect(signatures('handshake').filter(({ hedge }) => hedge)).toHaveLength(late.length)
  expect(signatures('handshake').filter(({ used }) => used)).toHaveLength(8)
})

test('a failure and the retry elsewhere are two uses, numbered', async () => {
  b.set('C_Sign rv CKR_DEVICE_ERROR')
  await sign(8)
  b.clear()

  const failed = signatures('handshake').filter(({ result }) => result !== 'ok')
  expect(failed.length).toBeGreaterThan(0)
  expect(failed.every(({ hsm, used }) => hsm === 'hsm-b' && !used)).toBe(true)
  const retries = signatures('handshake').filter(({ attempt }) => attempt > 1)
  expect(retries.filter(({ hsm, result, used }) => hsm === 'hsm-a' && result === 'ok' && used)).toHaveLength(
    failed.length,
  )
})

test('what was under way when a host died is told as such', async () => {
  b.set('C_Sign delay 300000')
  const signing = sign(8)
  await eventually(() => service.status()[1]?.inFlight !== 0, 'hsm-b was asked')
  process.kill(service.status()[1]?.pid ?? fail(), 'SIGKILL')
  await signing

  expect(
    signatures('handshake').filter(({ result }) => result === 'ERR_HSM_HOST_EXITED').length,
  ).toBeGreaterThan(0)
  const ended = await metrics.signatures.get()
  const counted = ended.values.reduce((sum, { value }) => sum + value, 0)
  expect(signatures('handshake')).toHaveLength(counted)
})

function signatures(reason?: SignatureUse['reason']): SignatureUse[] {
  return uses.filter(
    (use): use is SignatureUse => use.kind === 'signature' && (reason === undefined || use.reason === reason),
  )
}

/** As many as the module was asked for, over both processes. */
function untilAllTold(): Promise<void> {
  return eventually(
    () => inFlight() === 0 && signatures().length === a.calls('C_Sign') + b.calls('C_Sign'),
    'as many uses as calls',
  )
}

function inFlight(): number {
  return service.status().reduce((sum, member) => sum + member.inFlight, 0)
}

/** One after the other: each is a turn of its own, so both members are asked. */
async function sign(count: number): Promise<void> {
  const key = service.key(0)
  for (let seed = 0; seed < count; seed++) {
    await key.sign(signRequest(firstScheme(key), { message: handshakeMessage(firstScheme(key), seed) }))
  }
}

function fail(): never {
  throw new Error('hsm-b has no host')
}
