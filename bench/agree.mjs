// @ts-check
/**
 * Does `sealgate bench sign --path raw` say the same as raw-sign.c, which has no line in common with it?
 *
 * Usage: node bench/agree.mjs [--threads 1,2] [--seconds N] [--rounds N] [--type EC:prime256v1 | RSA:2048]
 *
 * Both measure the same SoftHSM key in turn, A B A B; the ratio is of the medians. Ends with 1 when one of them is further than
 * 10 % from 1, and says when the machine was not quiet: then it proves nothing.
 */

import { execFile } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { watchNoise } from './measure/machine.mjs'
import { formatNumber, formatValues, median } from './measure/statistics.mjs'
import { Workspace } from './setup/workspace.mjs'

const run = promisify(execFile)
const SOURCE = fileURLToPath(new URL('raw-sign.c', import.meta.url))
const SEALGATE = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
const MODULES = ['/usr/lib/softhsm/libsofthsm2.so', '/usr/lib64/softhsm/libsofthsm2.so']
const KEY = 'agree'
const TOKEN = 'agree'
const TOLERANCE = 0.1
const NOISY = 0.05

try {
  await main(readArguments())
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}

/** @param {ReturnType<typeof readArguments>} settings */
async function main({ threads, seconds, rounds, type }) {
  const workspace = new Workspace()
  try {
    const token = await createToken(workspace.dir, type)
    const program = `${workspace.dir}/raw-sign`
    await run('cc', ['-O2', '-Wall', '-Wextra', '-Werror', '-pthread', '-o', program, SOURCE, '-ldl'])
    const noise = watchNoise()
    for (const count of threads) await compare({ token, program, count, seconds, rounds, type })
    const { steal, foreign } = noise()
    console.log(
      `taken by others: hypervisor ${formatNumber(steal * 100)} %, other processes ${formatNumber(foreign * 100)} %${steal + foreign > NOISY ? '. The machine was not quiet: run it again' : ''}`,
    )
  } finally {
    await workspace.close()
  }
}

/**
 * @param {{ token: Token, program: string, count: number, seconds: number, rounds: number, type: string }} work
 */
async function compare({ token, program, count, seconds, rounds, type }) {
  /** @type {{ c: Measured[], sealgate: Measured[] }} */
  const measured = { c: [], sealgate: [] }
  for (let round = 0; round < rounds; round++) {
    measured.c.push(await rawSign(program, token, count, seconds))
    measured.sealgate.push(await benchSign(token, count, seconds, type))
  }
  const rates = { c: measured.c.map(rate), sealgate: measured.sealgate.map(rate) }
  const ratio = median(rates.sealgate) / median(rates.c)
  const agrees = Math.abs(ratio - 1) <= TOLERANCE
  console.log(
    `${type}, ${count} ${count === 1 ? 'thread' : 'threads'}: raw-sign.c ${formatValues(rates.c)}/s, bench sign ${formatValues(rates.sealgate)}/s, ratio ${ratio.toFixed(3)}: ${agrees ? 'agree' : 'DISAGREE'}; p50 ${formatNumber(median(measured.c.map(p50)) * 1000)} and ${formatNumber(median(measured.sealgate.map(p50)) * 1000)} µs`,
  )
  if (!agrees) process.exitCode = 1
}

/** @typedef {{ perSecond: number, p50Ms: number }} Measured */
/** @typedef {{ module: string, pinFile: string, env: Record<string, string> }} Token */

/**
 * @param {string} program
 * @param {Token} token
 * @param {number} threads
 * @param {number} seconds
 * @returns {Promise<Measured>}
 */
async function rawSign(program, { module, pinFile, env }, threads, seconds) {
  const args = [module, TOKEN, pinFile, KEY, String(threads), String(seconds)]
  const { stdout } = await run(program, args, { env: { ...process.env, ...env } })
  return JSON.parse(stdout)
}

/**
 * @param {Token} token
 * @param {number} sessions
 * @param {number} seconds
 * @param {string} type
 * @returns {Promise<Measured>}
 */
async function benchSign({ module, pinFile, env }, sessions, seconds, type) {
  const json = `${pinFile}.json`
  const hsm = ['--module', module, '--token', TOKEN, '--pin-file', pinFile, '--key', `pkcs11:object=${KEY}`]
  const how = [
    '--path',
    'raw',
    '--sessions',
    String(sessions),
    '--seconds',
    String(seconds),
    '--warm-up',
    '1',
  ]
  // The mechanisms that raw-sign.c uses.
  const scheme = type.startsWith('RSA') ? 'rsa_pkcs1_sha256' : 'ecdsa_secp256r1_sha256'
  const environment = Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`])
  const args = [...hsm, ...environment, ...how, '--schemes', scheme, '--json', json]
  await run(process.execPath, [SEALGATE, 'bench', 'sign', ...args])
  const { series } = JSON.parse(await readFile(json, 'utf8'))
  const [step] = series[0].steps
  return { perSecond: step.rate, p50Ms: step.latencyMs.p50 }
}

/**
 * @param {string} dir
 * @param {string} type
 * @returns {Promise<Token>}
 */
async function createToken(dir, type) {
  const env = { SOFTHSM2_CONF: `${dir}/softhsm2.conf` }
  const pinFile = `${dir}/pin`
  const pin = String(randomInt(10_000_000, 100_000_000))
  await mkdir(`${dir}/tokens`, { mode: 0o700 })
  await writeFile(env.SOFTHSM2_CONF, `directories.tokendir = ${dir}/tokens\nlog.level = ERROR\n`)
  await writeFile(pinFile, pin, { mode: 0o600 })
  const module = await firstFile(MODULES)
  // The PIN travels in the environment: arguments are readable by every user of the machine.
  const secrets = { ...process.env, ...env, AGREE_PIN: pin }
  /** @param {string[]} args */
  const tool = (...args) => run('pkcs11-tool', ['--module', module, ...args], { env: secrets })
  const so = ['--so-pin', 'env:AGREE_PIN']
  await tool('--init-token', '--slot-index', '0', '--label', TOKEN, ...so)
  await tool('--token-label', TOKEN, '--init-pin', '--login', ...so, '--pin', 'env:AGREE_PIN')
  const login = ['--token-label', TOKEN, '--login', '--pin', 'env:AGREE_PIN']
  await tool(...login, '--keypairgen', '--key-type', type, '--label', KEY, '--id', '01')
  return { module, pinFile, env }
}

/** @param {readonly string[]} paths */
async function firstFile(paths) {
  for (const path of paths) {
    const found = await readFile(path).then(
      () => true,
      () => false,
    )
    if (found) return path
  }
  throw new Error('libsofthsm2.so not found; install it: sudo apt-get install softhsm2 opensc')
}

/** @param {Measured} measured */
function rate({ perSecond }) {
  return perSecond
}

/** @param {Measured} measured */
function p50({ p50Ms }) {
  return p50Ms
}

function readArguments() {
  const { values } = parseArgs({
    options: {
      threads: { type: 'string', default: '1,2' },
      seconds: { type: 'string', default: '3' },
      rounds: { type: 'string', default: '5' },
      type: { type: 'string', default: 'EC:prime256v1' },
    },
  })
  const threads = values.threads.split(',').map(Number)
  const seconds = Number(values.seconds)
  const rounds = Number(values.rounds)
  if (![...threads, rounds].every((value) => Number.isInteger(value) && value > 0) || !(seconds > 0)) {
    throw new Error('--threads, --seconds and --rounds take numbers above 0')
  }
  return { threads, seconds, rounds, type: values.type }
}
