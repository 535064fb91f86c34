/**
 * SoftHSM in this machine beside SoftHSM behind p11-kit's wire: the same key, one module that cannot be lost and one whose
 * far side can be killed and silenced like a network.
 */

import { afterEach, beforeEach, expect, test } from 'vitest'

import type { HsmStatus } from '../../../src/hsm/signing-service.ts'
import { RemoteToken } from '../../support/p11-kit.ts'
import { eventually, signUntil, type TestService, testService } from '../../support/signing.ts'
import { SoftHsm } from '../../support/softhsm.ts'
import { startAll } from './all-up.ts'

let hsm: SoftHsm
let remote: RemoteToken
let running: TestService

beforeEach(async () => {
  hsm = new SoftHsm()
  const token = hsm.addToken('web')
  const spki = token.generateKey({ label: 'ec', id: '01', type: 'EC:prime256v1' })
  remote = new RemoteToken(hsm, token)
  await remote.start()
  running = testService({
    hsms: [token.hsmOptions({ name: 'local' }), remote.hsmOptions()],
    keys: [{ label: 'ec', spki }],
    signing: { timeoutMs: 1000 },
  })
  await startAll(running.service)
})

afterEach(async () => {
  await running.service.close()
  await remote.kill()
  hsm.remove()
})

test('a far side that is killed fails no signature; its member is named, and signs when it is back', async () => {
  let back = false
  const load = signUntil(running.service.key(0), () => back && signsAgain())
  await eventually(() => status('remote').sessions.open > 0, 'both sign')

  await remote.kill()
  await eventually(() => status('remote').state !== 'up', 'the remote member is out of service')
  expect(status('remote').lastError).toMatchObject({ message: expect.stringContaining('hsm "remote": ') })
  const { values } = await running.metrics.hsmErrors.get()
  expect(values.map(({ labels }) => labels)).toContainEqual({ hsm: 'remote', rv: 'CKR_DEVICE_ERROR' })

  await remote.start()
  back = true

  expect(await load).toBeGreaterThan(0)
  await atRest()
})

test('a far side that falls silent fails no signature, and its member signs when it speaks again', async () => {
  const silenced = status('remote').pid
  const load = signUntil(running.service.key(0), () => status('remote').pid !== silenced && signsAgain(), 4)
  await eventually(() => status('remote').sessions.open > 0, 'both sign')

  remote.pause()
  await eventually(() => status('remote').pid !== silenced, 'the hung host is killed')
  remote.resume()

  expect(await load).toBeGreaterThan(0)
  await atRest()
})

function signsAgain(): boolean {
  return status('remote').state === 'up' && status('remote').sessions.open > 0
}

async function atRest(): Promise<void> {
  await eventually(
    () => running.service.status().every(({ inFlight }) => inFlight === 0),
    'nothing is in flight',
  )
}

function status(name: string): HsmStatus {
  const found = running.service.status().find((member) => member.name === name)
  if (found === undefined) throw new Error(`no member ${name}`)
  return found
}
