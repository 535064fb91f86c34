/** The fault module itself, called from two threads. */

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { PKCS11 } from 'pkcs11js'
import { expect, test } from 'vitest'

import { buildFaultsModule } from '../../support/p11-faults.ts'
import { SoftHsm } from '../../support/softhsm.ts'

const pkcs11js: { PKCS11: new () => PKCS11 } = createRequire(import.meta.url)('pkcs11js')

test('a call sees the rules that are in force, also while another thread still reads them', async () => {
  using softHsm = new SoftHsm()
  softHsm.addToken('web')
  const control = join(softHsm.directory, 'control')
  Object.assign(process.env, softHsm.env, {
    SEALGATE_FAULTS_MODULE: softHsm.module,
    SEALGATE_FAULTS_CONTROL: control,
  })
  const module = new pkcs11js.PKCS11()
  module.load(buildFaultsModule(softHsm.directory))
  module.C_Initialize()
  const [slot] = module.C_GetSlotList(true)
  if (slot === undefined) throw new Error('no slot')
  const session = module.C_OpenSession(slot, 4)
  expect(module.C_GetTokenInfo(slot).label).toMatch(/^web/)

  // A named pipe is read as long as nobody has written to it.
  execFileSync('mkfifo', [control])
  await delay(20)
  const other = module.C_EncryptAsync(session, Buffer.alloc(16), Buffer.alloc(32)).catch(() => {})
  await delay(200)
  // Who looks after that finds the same rule in a file.
  const script = 'sleep 0.3; exec 3> "$0"; echo "$1" > "$0.new"; mv "$0.new" "$0"; echo "$1" >&3'
  const written = once(spawn('sh', ['-c', script, control, 'C_GetTokenInfo rv 0x30']), 'close')

  expect(() => module.C_GetTokenInfo(slot)).toThrow(expect.objectContaining({ code: 0x30 }))

  await other
  await written
  module.C_Finalize()
})
