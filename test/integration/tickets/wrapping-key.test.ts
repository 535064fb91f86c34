/**
 * The AES key in several HSMs: whichever is up wraps, the next one when it fails or hangs, and a text that does not open
 * says nothing against the HSM.
 */

import { hash, randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { keyUseFields, keyUseType } from '../../../src/audit/key-use-record.ts'
import type { KeyUse } from '../../../src/hsm/key-use.ts'
import type { SigningService } from '../../../src/hsm/signing-service.ts'
import { Faults } from '../../support/p11-faults.ts'
import { SoftHsm, type SoftToken } from '../../support/softhsm.ts'
import { keyIn, wrappingService } from './support.ts'

const HEADER = Buffer.from('sealgate ticket keys 1\n{}\n')
const KEYS = randomBytes(240)

const softHsm = new SoftHsm()
let token: SoftToken
let stranger: SoftToken
let a: Faults
let b: Faults
let service: SigningService | undefined

beforeAll(() => {
  token = softHsm.addToken('web')
  stranger = softHsm.addToken('stranger')
  for (const each of [token, stranger]) each.generateAesKey({ label: 'tickets', id: 'a1' })
  a = new Faults(softHsm, 'hsm-a')
  b = new Faults(softHsm, 'hsm-b')
})
afterAll(() => softHsm.remove())
afterEach(async () => {
  a.clear()
  b.clear()
  await service?.close()
})

test('the next HSM does it when the first is away, or fails', async () => {
  const key = await start()
  const wrapped = await key.wrap(HEADER, KEYS)
  for (const fault of [
    'C_DecryptInit rv CKR_DEVICE_ERROR',
    'C_DecryptInit rv CKR_FUNCTION_FAILED',
    '* removed',
  ]) {
    a.set(fault)

    expect(await key.unwrap(HEADER, wrapped)).toEqual(KEYS)
  }
})

test('an HSM that hangs costs one deadline; its host is killed, and comes back', async () => {
  const key = await start()
  const wrapped = await key.wrap(HEADER, KEYS)
  const hung = service?.status()[0]?.pid
  a.set('C_Decrypt hang')
  const beganMs = performance.now()

  expect(await key.unwrap(HEADER, wrapped)).toEqual(KEYS)

  expect(performance.now() - beganMs).toBeGreaterThan(1900)
  a.clear()
  await vi.waitFor(() => {
    expect(service?.status()[0]).toMatchObject({ state: 'up', restarts: 1 })
  }, SOON)
  expect(service?.status()[0]?.pid).not.toBe(hung)
  expect(await key.in('hsm-a').unwrap(HEADER, wrapped)).toEqual(KEYS)
})

test('handles that an HSM has forgotten are found again', async () => {
  const key = (await start()).in('hsm-a')
  const wrapped = await key.wrap(HEADER, KEYS)
  a.set('* reboot 1')

  await vi.waitFor(async () => expect(await key.unwrap(HEADER, wrapped)).toEqual(KEYS), SOON)

  expect(service?.status()[0]?.restarts).toBe(0)
})

test('a text that does not open is an error, and no reason to recover or to rest', async () => {
  const key = (await start()).in('hsm-a')
  const wrapped = await key.wrap(HEADER, KEYS)
  const opened = a.calls('C_OpenSession')
  wrapped[20] = (wrapped[20] ?? 0) ^ 1

  for (let attempt = 0; attempt < 20; attempt++)
    await expect(key.unwrap(HEADER, wrapped)).rejects.toMatchObject({
      code: 'ERR_HSM_UNWRAP',
      hsm: 'hsm-a',
      call: 'C_Decrypt',
    })

  expect(service?.status()[0]).toMatchObject({ state: 'up', restarts: 0 })
  expect(a.calls('C_OpenSession')).toBe(opened)
})

test('the HSM that has another key of this name is passed over, and named when it is the only one', async () => {
  service = await wrappingService([
    stranger.hsmOptions(a.options),
    token.hsmOptions({ name: 'hsm-b', ...b.options }),
  ])
  const key = keyIn(service, 'hsm-a', 'hsm-b')
  const wrapped = await key.in('hsm-b').wrap(HEADER, KEYS)

  expect(await key.unwrap(HEADER, wrapped)).toEqual(KEYS)
  await expect(key.in('hsm-a').unwrap(HEADER, wrapped)).rejects.toMatchObject({
    code: 'ERR_HSM_UNWRAP',
    message: expect.stringContaining('"hsm-a"'),
  })
})

test('when no HSM is there every one says why', async () => {
  const key = await start()
  a.set('* removed')
  b.set('C_EncryptInit rv CKR_MECHANISM_INVALID')
  await expect(key.in('hsm-a').wrap(HEADER, KEYS)).rejects.toThrow()

  await expect(key.wrap(HEADER, KEYS)).rejects.toMatchObject({
    code: 'ERR_HSM_ALL_FAILED',
    message: expect.stringMatching(/"hsm-a".*"hsm-b".*CKR_MECHANISM_INVALID/s),
  })
})

test('a request that is under way when the service ends is answered', async () => {
  const key = await start()
  a.set('C_EncryptInit delay 500000')
  const asked = key.in('hsm-a').wrap(HEADER, KEYS)
  const failed = expect(asked).rejects.toMatchObject({ code: 'ERR_HSM_HOST_EXITED' })

  await service?.close()

  await failed
})

test('every use of the key is told, whoever asked and whatever came of it', async () => {
  const uses: KeyUse[] = []
  const key = await start((use) => uses.push(use))
  const wrapped = await key.wrap(HEADER, KEYS)
  a.set('C_DecryptInit rv CKR_DEVICE_ERROR')
  await key.unwrap(HEADER, wrapped)

  const told = uses.filter((use) => use.kind === 'wrap')
  expect(told.map(({ direction, hsm, result }) => [direction, hsm, result])).toEqual([
    ['wrap', 'hsm-a', 'ok'],
    ['unwrap', 'hsm-a', 'ERR_HSM_FAILED'],
    ['unwrap', 'hsm-b', 'ok'],
  ])
  for (const use of told) {
    expect(use.uri).toBe('pkcs11:object=tickets;type=secret-key')
    expect(use.header).toEqual(HEADER)
    expect(keyUseType(use)).toBe(use.direction)
    const fields = JSON.parse(`{${keyUseFields(use)}}`)
    expect(fields).toMatchObject({ key: { uri: use.uri }, hsm: use.hsm, result: use.result })
    expect(fields.headerSha256).toBe(hash('sha256', HEADER))
  }
})

async function start(onUse?: (use: KeyUse) => void) {
  const hsms = [token.hsmOptions(a.options), token.hsmOptions({ name: 'hsm-b', ...b.options })]
  service = await wrappingService(hsms, onUse)
  return keyIn(service, 'hsm-a', 'hsm-b')
}

const SOON = { timeout: 10_000, interval: 50 }
