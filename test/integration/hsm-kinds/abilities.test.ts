/** Members that hold the same keys and cannot do the same with them. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'

import type { HsmOptions } from '../../../src/hsm/options.ts'
import { SIGNATURE_SCHEMES, type SignatureScheme, type SigningKey, schemes } from '../../../src/signing.ts'
import { Faults } from '../../support/p11-faults.ts'
import { eventually, signRequest, type TestService, testService, verifies } from '../../support/signing.ts'
import { SoftHsm, type SoftToken } from '../../support/softhsm.ts'
import { startAll } from './all-up.ts'

const PSS = scheme('rsa_pss_rsae_sha256')
const PKCS1 = scheme('rsa_pkcs1_sha256')

/** Shares are counted here; how long a busy machine takes is another matter. */
const TIMEOUT_MS = 10_000

const hsm = new SoftHsm()
const faults = new Faults(hsm, 'faulty')
let token: SoftToken
let rsa: Uint8Array
let ed25519: Uint8Array
let running: TestService | undefined

beforeAll(() => {
  token = hsm.addToken('web')
  rsa = token.generateKey({ label: 'rsa', id: '01', type: 'rsa:2048' })
  ed25519 = token.generateKey({ label: 'ed25519', id: '02', type: 'EC:edwards25519' })
})

afterEach(async () => {
  await running?.service.close()
  faults.clear()
})

afterAll(() => hsm.remove())

test('a key offers what any of its members can do, and each request goes where it can be made', async () => {
  const key = await start([only('CKM_RSA_PKCS', 'pkcs1'), only('CKM_RSA_PKCS_PSS', 'pss')], rsa)

  expect(key.schemes.map(({ name }) => name)).toEqual(
    schemes.filter(({ keyType }) => keyType === 'rsa').map(({ name }) => name),
  )
  await sign(key, PSS, 20)
  await sign(key, PKCS1, 20)

  expect(await shares(PSS)).toEqual({ pss: 20 })
  expect(await shares(PKCS1)).toEqual({ pkcs1: 20 })
})

test('what one member cannot do and another can is said once, and when it is gone no more', async () => {
  const able = token.hsmOptions({ name: 'able', ...faults.options })
  await start([only('CKM_RSA_PKCS', 'pkcs1'), able], rsa)
  const key = running?.service.key(0)
  const pss = ['rsa_pss_rsae_sha256', 'rsa_pss_rsae_sha384', 'rsa_pss_rsae_sha512']

  expect(key?.gaps()).toMatchObject([{ hsm: 'pkcs1', missing: pss.map((name) => ({ name })) }])
  const said = () => running?.lines.filter((line) => line.includes(`does no ${pss.join(' ')} with`)).length
  expect(said()).toBe(1)

  process.kill(status('able')?.pid ?? 0, 'SIGKILL')
  await eventually(() => status('able')?.state !== 'up', 'the able one is gone')
  expect(key?.gaps()).toEqual([])
  await eventually(() => status('able')?.state === 'up', 'and is back')
  expect(key?.gaps().length).toBe(1)
  expect(said()).toBe(1)
})

test('members that can do a scheme share it evenly, whoever stands between them and cannot', async () => {
  const all = ['a', 'b', 'c'].map((name) => token.hsmOptions({ name }))
  const key = await start([...all.slice(0, 1), only('CKM_RSA_PKCS', 'pkcs1'), ...all.slice(1)], rsa)

  await sign(key, PSS, 90)

  // Not to the last one: on a busy machine some are asked of two.
  const { a = 0, b = 0, c = 0, ...others } = await shares(PSS)
  expect(others).toEqual({})
  expect(Math.min(a, b, c)).toBeGreaterThanOrEqual(24)
})

test('a hiccup of the one member that can do a scheme does not end the signature', async () => {
  const able = token.hsmOptions({ name: 'able', ...faults.options })
  const key = await start([only('CKM_RSA_PKCS', 'pkcs1'), able], rsa)

  faults.set('C_Sign rv CKR_DEVICE_ERROR times 1')
  const startedMs = performance.now()
  await sign(key, PSS, 1)

  expect(performance.now() - startedMs).toBeLessThan(TIMEOUT_MS / 2)
})

test('a member without the mechanism of a key is named, and the others sign', async () => {
  const { service } = serviceOf([only('CKM_ECDSA', 'ecdsa'), token.hsmOptions({ name: 'all' })], ed25519)

  await service.start()

  const unable = () => status('ecdsa')?.lastError
  await eventually(() => unable()?.code === 'ERR_HSM_MECHANISM', 'the problem is named')
  expect(unable()?.message).toContain('CKM_EDDSA')
  await sign(service.key(0), scheme('ed25519'), 10)
})

test('a slow member gets no more than it has sessions for, and the quick one does the rest', async () => {
  const slow = token.hsmOptions({ name: 'slow', sessions: 2, ...faults.options })
  const key = await start([slow, token.hsmOptions({ name: 'quick' })], rsa)
  faults.set('C_Sign delay 20000')

  const startedMs = performance.now()
  await Promise.all(Array.from({ length: 16 }, () => sign(key, PKCS1, 10)))
  const tookMs = performance.now() - startedMs

  const { slow: slowShare = 0, quick = 0 } = await shares(PKCS1)
  expect(slowShare).toBeGreaterThan(0)
  // What two sessions at 20 ms can have made in that time.
  expect(slowShare).toBeLessThanOrEqual((2 * tookMs) / 20 + 2)
  expect(quick).toBeGreaterThan(slowShare)
})

function status(hsm: string) {
  return running?.service.status().find(({ name }) => name === hsm)
}

/** A member on the same token that has no other mechanism. */
function only(mechanism: string, name: string): HsmOptions {
  const conf = join(hsm.directory, `${name}.conf`)
  writeFileSync(conf, `${readFileSync(hsm.conf, 'utf8')}slots.mechanisms = ${mechanism}\n`)
  return token.hsmOptions({ name, env: { SOFTHSM2_CONF: conf } })
}

function serviceOf(hsms: readonly HsmOptions[], spki: Uint8Array): TestService {
  const label = spki === rsa ? 'rsa' : 'ed25519'
  running = testService({ hsms, keys: [{ label, spki }], signing: { timeoutMs: TIMEOUT_MS } })
  return running
}

async function start(hsms: readonly HsmOptions[], spki: Uint8Array): Promise<SigningKey> {
  const { service } = serviceOf(hsms, spki)
  await startAll(service)
  return service.key(0)
}

/** One after the other. */
async function sign(key: SigningKey, wanted: SignatureScheme, count: number): Promise<void> {
  for (let made = 0; made < count; made++) {
    const request = signRequest(wanted, { timeoutMs: TIMEOUT_MS })
    expect(verifies(key.spki, wanted, request.message, await key.sign(request))).toBe(true)
  }
}

/** Signatures made, by member. */
async function shares(wanted: SignatureScheme): Promise<Record<string, number>> {
  const values = (await running?.metrics.signatures.get())?.values ?? []
  const made = values.filter(({ labels }) => labels.scheme === wanted.name && labels.result === 'ok')
  return Object.fromEntries(made.map(({ labels, value }) => [String(labels.hsm), value]))
}

function scheme(name: keyof typeof SIGNATURE_SCHEMES): SignatureScheme {
  return { name, ...SIGNATURE_SCHEMES[name] }
}
