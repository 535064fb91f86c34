// @ts-check
/** One SoftHSM token for both programs: the same objects in the same files, and the same module in front of them. */

import { execFile } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { softhsmModule } from '../../dev/tools.mjs'
import { delayedHsm } from '../setup/hsm.mjs'

const run = promisify(execFile)

/**
 * @typedef {object} Token
 * @property {string} label
 * @property {string} pinFile
 * @property {(delayMs: number) => Promise<import('../setup/hsm.mjs').Hsm>} hsm as it is seen with this delay: SoftHSM itself for 0
 */

/**
 * @param {import('../setup/workspace.mjs').Workspace} workspace
 * @param {readonly import('./rows.mjs').Key[]} keys
 * @returns {Promise<Token>}
 * @throws an Error that says what to install.
 */
export async function createToken(workspace, keys) {
  const softhsm = softhsmModule()
  if (softhsm === undefined) {
    throw new Error('SoftHSM not found; install it: sudo apt-get install softhsm2 opensc')
  }
  const { dir } = workspace
  const env = { SOFTHSM2_CONF: `${dir}/softhsm2.conf` }
  const pinFile = `${dir}/pin`
  const pin = String(randomInt(10_000_000, 100_000_000))
  await mkdir(`${dir}/tokens`, { mode: 0o700 })
  await writeFile(env.SOFTHSM2_CONF, `directories.tokendir = ${dir}/tokens\nlog.level = ERROR\n`)
  await writeFile(pinFile, pin, { mode: 0o600 })

  const label = 'agree'
  // The PIN travels in the environment: arguments are readable by every user of the machine.
  const secrets = { ...process.env, ...env, AGREE_PIN: pin }
  /** @param {string[]} args */
  const tool = (...args) => run('pkcs11-tool', ['--module', softhsm, ...args], { env: secrets })
  const so = ['--so-pin', 'env:AGREE_PIN']
  await tool('--init-token', '--slot-index', '0', '--label', label, ...so)
  await tool('--token-label', label, '--init-pin', '--login', ...so, '--pin', 'env:AGREE_PIN')
  const login = ['--token-label', label, '--login', '--pin', 'env:AGREE_PIN']
  for (const [index, key] of keys.entries()) {
    const id = String(index + 1).padStart(2, '0')
    await tool(...login, '--keypairgen', '--key-type', key.type, '--label', key.label, '--id', id)
  }

  const direct = { name: 'softhsm', module: softhsm, env }
  const delayed = await delayedHsm({ workspace, tools: { softhsm }, token: { env } }, 'delayed')
  return {
    label,
    pinFile,
    async hsm(delayMs) {
      if (delayMs === 0) return direct
      await delayed.setSignDelay(delayMs)
      return delayed
    },
  }
}
