// @ts-check
/**
 * Two credentials for the same name: one whose key was born in a SoftHSM token, one whose key is a file.
 *
 * Both are ECDSA P-256 and self-signed. The token's certificate is signed in the token, through the same OpenSSL
 * engine that nginx uses, which proves the engine before anything is measured.
 */

import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)
const SUBJECT = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-days', '30']

/**
 * @typedef {object} Token
 * @property {string} label
 * @property {string} keyLabel CKA_LABEL of the private key
 * @property {string} pinFile
 * @property {string} certificate PEM
 * @property {Record<string, string>} env SOFTHSM2_CONF: for whoever loads the module
 * @property {(name: string, module: string) => Promise<string>} writeEngineConfig an OpenSSL configuration
 *   whose pkcs11 engine loads `module` and knows the PIN; returns its path
 *
 * @typedef {{ key: string, certificate: string, pem: string }} FileCredentials paths; `pem` holds both
 */

/**
 * @param {string} dir
 * @param {import('./tools.mjs').Tools} tools
 * @returns {Promise<Token>}
 */
export async function createToken(dir, tools) {
  const label = 'bench'
  const keyLabel = 'bench-ec'
  // Digits only: what pkcs11-tool, OpenSSL's configuration and every vendor accept without quoting.
  const pin = String(randomBytes(6).readUIntBE(0, 6)).padStart(15, '0')
  const env = { SOFTHSM2_CONF: `${dir}/softhsm2.conf` }
  await mkdir(`${dir}/tokens`, { mode: 0o700 })
  await writeFile(
    env.SOFTHSM2_CONF,
    `directories.tokendir = ${dir}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n`,
  )
  await writeFile(`${dir}/pin`, pin, { mode: 0o600 })

  // The PIN travels in the environment: arguments are readable by every user of the machine.
  const secrets = { BENCH_PIN: pin }
  /** @param {string[]} args */
  const pkcs11Tool = (...args) =>
    run('pkcs11-tool', ['--module', tools.softhsm, ...args], { env: { ...process.env, ...env, ...secrets } })
  await pkcs11Tool('--init-token', '--slot-index', '0', '--label', label, '--so-pin', 'env:BENCH_PIN')
  const login = ['--token-label', label, '--login', '--pin', 'env:BENCH_PIN']
  await pkcs11Tool(
    '--token-label',
    label,
    '--init-pin',
    '--login',
    '--so-pin',
    'env:BENCH_PIN',
    '--pin',
    'env:BENCH_PIN',
  )
  await pkcs11Tool(...login, '--keypairgen', '--key-type', 'EC:prime256v1', '--label', keyLabel, '--id', '01')

  /** @type {Token['writeEngineConfig']} */
  const writeEngineConfig = async (name, module) => {
    const file = `${dir}/${name}.cnf`
    await writeFile(file, engineConfig(tools.pkcs11Engine, module, pin), { mode: 0o600 })
    return file
  }
  const certificate = `${dir}/token.pem`
  const config = await writeEngineConfig('certificate', tools.softhsm)
  const key = [
    '-engine',
    'pkcs11',
    '-keyform',
    'engine',
    '-key',
    `pkcs11:token=${label};object=${keyLabel};type=private`,
  ]
  await run('openssl', ['req', '-new', '-x509', '-sha256', ...key, ...SUBJECT, '-out', certificate], {
    env: { ...process.env, ...env, OPENSSL_CONF: config },
  })
  return { label, keyLabel, pinFile: `${dir}/pin`, certificate, env, writeEngineConfig }
}

/**
 * @param {string} dir
 * @returns {Promise<FileCredentials>}
 */
export async function createFileCredentials(dir) {
  const key = `${dir}/file.key`
  const certificate = `${dir}/file.pem`
  const pem = `${dir}/file-both.pem`
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-noenc', '-keyout', key]
  await run('openssl', ['req', '-new', '-x509', '-sha256', ...newKey, ...SUBJECT, '-out', certificate])
  await run('sh', ['-c', 'umask 077 && cat "$1" "$2" > "$3"', 'sh', key, certificate, pem])
  return { key, certificate, pem }
}

/**
 * @param {string} engine
 * @param {string} module
 * @param {string} pin
 */
function engineConfig(engine, module, pin) {
  return `openssl_conf = init
[init]
engines = engines
[engines]
pkcs11 = pkcs11
[pkcs11]
engine_id = pkcs11
dynamic_path = ${engine}
MODULE_PATH = ${module}
PIN = ${pin}
init = 1
[req]
distinguished_name = name
[name]
`
}
