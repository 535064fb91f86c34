// @ts-check
/** One run of a script of tlsfuzzer, and what came of it. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ECDHE = fileURLToPath(new URL('./ecdhe.py', import.meta.url))

/**
 * @typedef {object} Setting
 * @property {string} tlsfuzzer a checkout of it
 * @property {string} python what PYTHONPATH must have for it
 * @property {number} limitMs for one script
 *
 * @typedef {object} Target
 * @property {number} port
 * @property {string} clientSchemes what the server takes from clients, as scripts write it (-s)
 * @property {{ key: string, certificate: string }} [client] files
 *
 * @typedef {object} Result
 * @property {'passed' | 'failed' | 'unfinished'} outcome unfinished: past its time, or it ended by itself
 * @property {number} passed probes
 * @property {readonly string[]} failed names of probes
 * @property {number} seconds
 */

/**
 * @param {import('./plan.mjs').Run} run
 * @param {Target} target
 * @param {Setting} setting
 * @param {readonly string[]} [probes] these only; none: all
 * @returns {Promise<Result>}
 */
export async function runScript({ file, args, ecdhe, told }, target, setting, probes = []) {
  const { port, client, clientSchemes } = target
  const { tlsfuzzer, python, limitMs } = setting
  const all = [
    ...(ecdhe ? [ECDHE] : []),
    join(tlsfuzzer, 'scripts', file),
    ...['-h', 'localhost', '-p', String(port), ...args],
    ...(client ? ['-k', client.key, '-c', client.certificate] : []),
    ...(told ? ['-s', clientSchemes] : []),
    ...probes,
  ]
  const began = performance.now()
  const child = spawn('python3', all, {
    env: { ...process.env, PYTHONPATH: `${tlsfuzzer}:${python}` },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: limitMs,
    killSignal: 'SIGKILL',
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text
  })
  child.stderr.resume()
  const [status] = await once(child, 'close')
  const failed = failedProbes(output)
  // One script (sslv2-connection) has only probes that must fail, and do.
  const passed = countOf('PASS', output) + countOf('XFAIL', output)
  const outcome = status === 0 && passed > 0 ? 'passed' : failed.length > 0 ? 'failed' : 'unfinished'
  return { outcome, passed, failed, seconds: (performance.now() - began) / 1000 }
}

/**
 * @param {string} line of the summary
 * @param {string} output
 */
function countOf(line, output) {
  return Number(new RegExp(`^${line}: (\\d+)$`, 'm').exec(output)?.[1] ?? 0)
}

/**
 * Their summary ends with the names of probes, one a line, in Python's quotes.
 *
 * @param {string} output
 */
function failedProbes(output) {
  if (!output.includes('FAILED:')) return []
  const summary = output.slice(output.lastIndexOf('FAILED:'))
  return [...summary.matchAll(/^\t(["'])(.*)\1$/gm)].map(([, , name = '']) => name)
}
