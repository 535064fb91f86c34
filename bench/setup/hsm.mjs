// @ts-check
/** The HSM as peers see it: a PKCS#11 module, the environment it needs, and a latency that can be set. */

import { execFile } from 'node:child_process'
import { rename, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const source = fileURLToPath(new URL('../../src/drill/p11-faults.c', import.meta.url))

/**
 * @typedef {object} Hsm
 * @property {string} name for file names
 * @property {string} module
 * @property {Record<string, string>} env for whoever loads the module
 *
 * @typedef {Hsm & { setSignDelay: (milliseconds: number) => Promise<void> }} DelayedHsm
 *
 * @typedef {object} Parts
 * @property {import('./workspace.mjs').Workspace} workspace
 * @property {{ softhsm: string }} tools
 * @property {{ env: Record<string, string> }} token
 */

/**
 * SoftHSM itself.
 *
 * @param {Parts} parts
 * @returns {Hsm}
 */
export function softHsm({ tools, token }) {
  return { name: 'softhsm', module: tools.softhsm, env: token.env }
}

/**
 * SoftHSM behind src/drill/p11-faults.c, which sleeps in C_Sign without holding a lock.
 *
 * @param {Parts} parts
 * @param {string} name
 * @returns {Promise<DelayedHsm>} without delay until one is set
 */
export async function delayedHsm({ workspace, tools, token }, name) {
  const module = `${workspace.dir}/${name}.so`
  await run('cc', ['-std=c17', '-O2', '-shared', '-fPIC', '-o', module, source, '-ldl'])
  const control = `${workspace.dir}/${name}.control`
  /** @type {DelayedHsm['setSignDelay']} */
  const setSignDelay = async (milliseconds) => {
    // Renamed into place: no reader ever sees half a file.
    await writeFile(`${control}.new`, `C_Sign delay ${milliseconds * 1000}\n`)
    await rename(`${control}.new`, control)
  }
  await setSignDelay(0)
  const env = { ...token.env, SEALGATE_FAULTS_MODULE: tools.softhsm, SEALGATE_FAULTS_CONTROL: control }
  return { name, module, env, setSignDelay }
}
