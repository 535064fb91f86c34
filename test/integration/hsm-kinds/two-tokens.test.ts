/** One key in two tokens of one SoftHSM; the key is made here and lives as long as the test. */

import { generateKeyPairSync } from 'node:crypto'
import { afterEach, beforeAll, expect, test } from 'vitest'

import type { HsmStatus } from '../../../src/hsm/signing-service.ts'
import { movableKey } from '../../support/movable-key.ts'
import { Faults } from '../../support/p11-faults.ts'
import { eventually, signUntil, type TestService, testService } from '../../support/signing.ts'
import { SoftHsm, type SoftToken } from '../../support/softhsm.ts'

const hsm = new SoftHsm()
const faults = new Faults(hsm, 'second')
const key = movableKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }))
let first: SoftToken
let second: SoftToken
let running: TestService | undefined

beforeAll(() => {
  ;[first, second] = [hsm.addToken('first'), hsm.addToken('second')]
  first.importKey({ label: 'ec', id: '01', pkcs8Pem: key.pkcs8Pem })
  second.importKey({ label: 'copy-of-ec', id: '02', pkcs8Pem: key.pkcs8Pem })
  return () => hsm.remove()
})

afterEach(async () => {
  await running?.service.close()
  faults.clear()
})

test('a second token signs when the first is removed, and the first when it is back', async () => {
  const service = await start()

  let returned = false
  faults.set('* removed')
  const load = signUntil(service.key(0), () => status('second').state === 'up' && returned)
  await eventually(() => status('second').state !== 'up', 'the second token is out')
  const alone = await signUntil(service.key(0), counter(50))
  faults.clear()
  returned = true

  expect(await load).toBeGreaterThan(0)
  expect(alone).toBeGreaterThanOrEqual(50)
  expect(status('second').lastError?.message).toContain('"second"')
})

test('a token that another process is just writing is opened a moment later, without a word', async () => {
  faults.set('C_GetTokenInfo rv CKR_GENERAL_ERROR times 2')

  await start()

  expect(status('second')).toMatchObject({ state: 'up', restarts: 0 })
  expect(running?.lines.filter((line) => JSON.parse(line).level >= WARN)).toEqual([])
})

test('a token whose key has that name but is another key is left out, and named', async () => {
  second.generateKey({ label: 'another', id: '03', type: 'EC:prime256v1' })
  const { service } = testServiceOf({ label: 'another', id: undefined, uri: 'pkcs11:object=another' })

  const problems = await service.start()

  expect(problems).toMatchObject([{ code: 'ERR_HSM_KEY_MISMATCH', hsm: 'second' }])
  expect(problems[0]?.message).toContain('pkcs11:object=another')
  await signUntil(service.key(0), counter(10))
})

async function start(): Promise<TestService['service']> {
  const copy = { label: 'copy-of-ec', id: undefined, uri: 'pkcs11:object=copy-of-ec' }
  const { service } = testServiceOf(copy)
  expect(await service.start()).toEqual([])
  return service
}

/** @param there how the key is named in the second token. */
function testServiceOf(there: { label: string; id: undefined; uri: string }): TestService {
  running = testService({
    hsms: [first.hsmOptions({ name: 'first' }), second.hsmOptions({ name: 'second', ...faults.options })],
    keys: [{ label: 'ec', spki: key.spki, byHsm: new Map([['second', there]]) }],
  })
  return running
}

/** True from the `count`th time on that it is asked. */
function counter(count: number): () => boolean {
  let asked = 0
  return () => ++asked > count
}

function status(name: string): HsmStatus {
  const found = running?.service.status().find((member) => member.name === name)
  if (found === undefined) throw new Error(`no member ${name}`)
  return found
}

/** pino's number. */
const WARN = 40
