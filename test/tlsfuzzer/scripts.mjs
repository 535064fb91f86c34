// @ts-check
/** tlsfuzzer's scripts: which fit a server of this kind, how each is told about our suites, and what came of it. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * @typedef {object} Script
 * @property {string} id file and variant
 * @property {string} file
 * @property {readonly string[]} args
 * @property {'default' | 'withCbc'} policy of the server; many scripts for TLS 1.2 know no AEAD suite
 *
 * @typedef {object} Result
 * @property {'passed' | 'failed' | 'unfinished'} outcome unfinished: past its time, or it ended by itself
 * @property {readonly string[]} failed names of probes
 * @property {number} seconds
 */

/**
 * What cannot tell anything about a server with TLS 1.2 and 1.3 and ECDHE only: scripts that time their answers for hours,
 * those for key exchange by RSA or SSL 2, and those whose server must send back what it gets (lengths).
 */
const UNFIT = /timing|lucky13|minerva|bleichenbacher|marvin|sslv2|SSLv3|kRSA|rsa-keys|lengths/

/** By certificate: what a TLS 1.2 script is told to speak. */
const SUITES = {
  rsa: 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256',
  ecdsa: 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256',
}

/**
 * @param {string} tlsfuzzer
 * @returns {readonly Script[]}
 */
export function listScripts(tlsfuzzer) {
  const files = readdirSync(join(tlsfuzzer, 'scripts')).filter((file) => /^test-.*\.py$/.test(file))
  return files.filter((file) => !UNFIT.test(file)).flatMap((file) => variants(tlsfuzzer, file))
}

/**
 * @param {string} tlsfuzzer
 * @param {string} file
 * @returns {readonly Script[]}
 */
function variants(tlsfuzzer, file) {
  const app = join(tlsfuzzer, 'tlsfuzzer', '_apps', file.replaceAll('-', '_'))
  const options = /getopt\.getopt\(\s*\w+,\s*["']([^"']*)/.exec(readFileSync(app, 'utf8'))?.[1] ?? ''
  if (file.startsWith('test-tls13')) return [{ id: file, file, args: [], policy: 'default' }]
  if (options.includes('C:')) {
    return Object.entries(SUITES).map(([key, suite]) => ({
      id: `${file} ${key}`,
      file,
      args: ['-C', suite],
      policy: 'default',
    }))
  }
  // ECDHE instead of key exchange by RSA, which is off.
  const args = options.includes('d') ? ['-d'] : []
  return [{ id: [file, ...args].join(' '), file, args, policy: 'withCbc' }]
}

/**
 * @param {Script} script
 * @param {{ tlsfuzzer: string, python: string, port: number, limitMs: number, probes?: readonly string[] }} options
 *   `probes`: these only; none: all
 * @returns {Promise<Result>}
 */
export async function runScript({ file, args }, { tlsfuzzer, python, port, limitMs, probes = [] }) {
  const began = performance.now()
  const all = [join(tlsfuzzer, 'scripts', file), '-h', 'localhost', '-p', String(port), ...args, ...probes]
  const child = spawn('python3', all, {
    env: { ...process.env, PYTHONPATH: python },
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
  const ran = Number(/^TOTAL: (\d+)$/m.exec(output)?.[1] ?? 0)
  const outcome = status === 0 && ran > 0 ? 'passed' : failed.length > 0 ? 'failed' : 'unfinished'
  return { outcome, failed, seconds: (performance.now() - began) / 1000 }
}

/**
 * Their summary ends with the names of probes, one a line, in Python's quotes.
 *
 * @param {string} output
 */
function failedProbes(output) {
  const summary = output.slice(output.lastIndexOf('FAILED:'))
  if (!output.includes('FAILED:')) return []
  return [...summary.matchAll(/^\t(["'])(.*)\1$/gm)].map(([, , name = '']) => name)
}
