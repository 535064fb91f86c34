// @ts-check
/** The two programs, asked for the same: each with processes, a login and a process group of its own. */

import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const SOURCE = fileURLToPath(new URL('../raw-sign.c', import.meta.url))
const SEALGATE = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
// Start and login included, which take two seconds.
const PATIENCE_MS = 30_000

/**
 * @typedef {object} Order
 * @property {import('../setup/workspace.mjs').Workspace} workspace
 * @property {import('../setup/hsm.mjs').Hsm} hsm
 * @property {import('./token.mjs').Token} token
 * @property {import('./rows.mjs').Key} key
 * @property {number} sessions each on a thread of its own
 * @property {number} warmUp seconds that do not count
 * @property {number} seconds that do
 *
 * @typedef {{ perSecond: number, p50Ms: number }} Measured as the program says it
 * @typedef {{ pid: number, measured: Promise<Measured> }} Running
 */

/**
 * @param {string} dir
 * @returns {Promise<string>} path of the program
 */
export async function compileRawSign(dir) {
  const program = `${dir}/raw-sign`
  const flags = ['-O2', '-Wall', '-Wextra', '-Werror', '-pthread']
  await promisify(execFile)('cc', [...flags, '-o', program, SOURCE, '-ldl'])
  return program
}

/**
 * @param {string} program
 * @param {Order} order
 * @returns {Running}
 */
export function startRawSign(program, { workspace, hsm, token, key, sessions, warmUp, seconds }) {
  const args = [hsm.module, token.label, token.pinFile, key.label, ...[sessions, warmUp, seconds].map(String)]
  const limitMs = limitOf(warmUp + seconds)
  const options = { name: 'raw-sign', command: program, args, env: hsm.env, group: true, limitMs }
  const { pid, output } = workspace.start(options)
  return { pid, measured: output.then(JSON.parse) }
}

/**
 * @param {Order} order
 * @returns {Running}
 */
export function startBenchSign({ workspace, hsm, token, key, sessions, warmUp, seconds }) {
  const json = `${workspace.dir}/bench-sign.json`
  const what = ['--module', hsm.module, '--token', token.label, '--pin-file', token.pinFile]
  const which = ['--key', `pkcs11:object=${key.label}`, '--schemes', key.scheme, '--path', 'raw']
  const how = ['--sessions', `${sessions}`, '--warm-up', `${warmUp}`, '--seconds', `${seconds}`]
  const env = Object.entries(hsm.env).flatMap(([name, value]) => ['--env', `${name}=${value}`])
  const args = [SEALGATE, 'bench', 'sign', ...what, ...which, ...how, ...env, '--json', json]
  const limitMs = limitOf(warmUp + seconds)
  const options = { name: 'bench-sign', command: process.execPath, args, group: true, limitMs }
  const { pid, output } = workspace.start(options)
  return { pid, measured: output.then(() => readStep(json)) }
}

/** @param {string} json */
async function readStep(json) {
  const { series } = JSON.parse(await readFile(json, 'utf8'))
  const [step] = series[0].steps
  return { perSecond: step.rate, p50Ms: step.latencyMs.p50 }
}

/** @param {number} seconds */
function limitOf(seconds) {
  return seconds * 1000 + PATIENCE_MS
}
