/**
 * One key in SoftHSM and in NSS's softokn: two implementations by different people, which name the key differently and
 * cannot do the same things. The key is made here and lives as long as the test.
 */

import { generateKeyPairSync } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import type { HsmStatus } from '../../../src/hsm/signing-service.ts'
import { movableKey } from '../../support/movable-key.ts'
import { NssDatabase, nssSelector } from '../../support/nss.ts'
import {
  eventually,
  handshakeMessage,
  signRequest,
  signUntil,
  type TestService,
  testService,
  verifies,
} from '../../support/signing.ts'
import { SoftHsm, type SoftToken } from '../../support/softhsm.ts'
import { signingKeyContract } from '../hsm/signing-key-contract.ts'
import { startAll } from './all-up.ts'

const KEYS = [
  { label: 'ec', id: '01', pair: generateKeyPairSync('ec', { namedCurve: 'P-256' }) },
  { label: 'p384', id: '02', pair: generateKeyPairSync('ec', { namedCurve: 'P-384' }) },
  { label: 'p521', id: '04', pair: generateKeyPairSync('ec', { namedCurve: 'P-521' }) },
  { label: 'rsa', id: '03', pair: generateKeyPairSync('rsa', { modulusLength: 2048 }) },
].map(({ pair, ...names }) => ({ ...names, ...movableKey(pair) }))

const hsm = new SoftHsm()
const nss = new NssDatabase()
let token: SoftToken
let running: TestService | undefined

beforeAll(async () => {
  token = hsm.addToken('web')
  for (const key of KEYS) {
    token.importKey(key)
    nss.importKey(key)
  }
  running = testService({
    hsms: [token.hsmOptions({ name: 'softhsm' }), nss.hsmOptions()],
    keys: KEYS.map(({ label, id, spki }) => ({
      label,
      id: Buffer.from(id, 'hex'),
      spki,
      byHsm: new Map([['nss', nssSelector(spki)]]),
    })),
    signing: { verify: 'always', timeoutMs: 5_000 },
  })
  await startAll(service())
})

afterAll(async () => {
  await running?.service.close()
  hsm.remove()
  nss[Symbol.dispose]()
})

describe('a key in SoftHSM and NSS', () => {
  signingKeyContract(() => KEYS.map((_, index) => service().key(index)))

  test('each signs its half', async () => {
    await eventually(() => ['softhsm', 'nss'].every((name) => status(name).state === 'up'), 'both are up')
    const before = await signatures()
    const key = service().key(0)
    const [scheme] = key.schemes
    if (scheme === undefined) throw new Error('no scheme')

    for (let seed = 0; seed < 100; seed++) {
      const message = handshakeMessage(scheme, seed)
      const signature = await key.sign(signRequest(scheme, { message }))
      expect(verifies(key.spki, scheme, message, signature)).toBe(true)
    }

    // Not to the last one: on a busy machine some are asked of both.
    const after = await signatures()
    for (const [at, count] of after.entries()) expect(count - (before[at] ?? 0)).toBeGreaterThanOrEqual(40)
  })

  test.each(['softhsm', 'nss'])(
    'kill -9 of the host of %s fails no signature, and it signs again',
    async (name) => {
      const restarts = status(name).restarts

      const load = signUntil(
        service().key(0),
        () => status(name).restarts > restarts && status(name).state === 'up',
      )
      await eventually(() => status(name).sessions.open > 0, `${name} signs`)
      process.kill(status(name).pid ?? 0, 'SIGKILL')

      expect(await load).toBeGreaterThan(0)
      await eventually(() => status(name).inFlight === 0, 'nothing is in flight')
    },
  )
})

function started(): TestService {
  if (running === undefined) throw new Error('not started')
  return running
}

function service(): TestService['service'] {
  return started().service
}

test('a key of a type that NSS does not know is signed with by the other, and NSS signs with the rest', async () => {
  const [ec] = KEYS
  if (ec === undefined) throw new Error('no key')
  const ed25519 = token.generateKey({ label: 'ed25519', id: '05', type: 'EC:edwards25519' })
  const { service } = testService({
    hsms: [nss.hsmOptions(), token.hsmOptions({ name: 'softhsm' })],
    keys: [
      { label: 'ed25519', spki: ed25519 },
      { label: ec.label, spki: ec.spki },
    ],
  })
  await using _closed = service

  const problems = await service.start()

  expect(problems).toMatchObject([{ code: 'ERR_HSM_MECHANISM', hsm: 'nss' }])
  expect(problems[0]?.message).toContain('CKM_EDDSA')
  for (const index of [0, 1]) {
    const key = service.key(index)
    const [scheme] = key.schemes
    if (scheme === undefined) throw new Error('no scheme')
    const request = signRequest(scheme)
    expect(verifies(key.spki, scheme, request.message, await key.sign(request))).toBe(true)
  }
  expect(service.status().map(({ name, state }) => [name, state])).toEqual([
    ['nss', 'up'],
    ['softhsm', 'up'],
  ])
})

test('a key that has another id there is reported with that id', async () => {
  const { service } = testService({
    hsms: [nss.hsmOptions()],
    keys: KEYS.slice(0, 1).map(({ label, id, spki }) => ({ label, id: Buffer.from(id, 'hex'), spki })),
  })
  await using _closed = service

  const [problem] = await service.start()

  expect(problem).toMatchObject({ code: 'ERR_HSM_KEY_NOT_FOUND', hsm: 'nss' })
  const [id] = KEYS.map(({ spki }) => /id=[^;]+/.exec(nssSelector(spki).uri)?.[0])
  expect(problem?.message).toContain(`one with this label has ${id}: `)
})

async function signatures(): Promise<number[]> {
  const { values } = await started().metrics.signatures.get()
  return ['softhsm', 'nss'].map((hsm) =>
    values
      .filter(({ labels }) => labels.hsm === hsm && labels.result === 'ok')
      .reduce((sum, { value }) => sum + value, 0),
  )
}

function status(name: string): HsmStatus {
  const found = service()
    .status()
    .find((member) => member.name === name)
  if (found === undefined) throw new Error(`no member ${name}`)
  return found
}
