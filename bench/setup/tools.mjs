// @ts-check
/** What the bench needs from the machine: checked at once, named with the command that installs it. */

import { execFile } from 'node:child_process'
import { access } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const benchDir = fileURLToPath(new URL('..', import.meta.url))

/** Where Debian and its relatives put shared objects; the first that exists is used. */
const LIBRARIES = {
  softhsm: {
    package: 'softhsm2',
    paths: ['/usr/lib/softhsm/libsofthsm2.so', '/usr/lib64/softhsm/libsofthsm2.so'],
  },
  pkcs11Engine: {
    package: 'libengine-pkcs11-openssl',
    paths: [
      '/usr/lib/x86_64-linux-gnu/engines-3/pkcs11.so',
      '/usr/lib/aarch64-linux-gnu/engines-3/pkcs11.so',
      '/usr/lib64/engines-3/pkcs11.so',
    ],
  },
  nginxStream: {
    package: 'libnginx-mod-stream',
    paths: ['/usr/lib/nginx/modules/ngx_stream_module.so', '/usr/lib64/nginx/modules/ngx_stream_module.so'],
  },
}

const COMMANDS = {
  nginx: 'nginx',
  hitch: 'hitch',
  wrk: 'wrk',
  openssl: 'openssl',
  cc: 'gcc libssl-dev libc6-dev',
  'softhsm2-util': 'softhsm2',
  'pkcs11-tool': 'opensc',
}

/**
 * @typedef {object} Tools
 * @property {string} softhsm the SoftHSM PKCS#11 module
 * @property {string} pkcs11Engine OpenSSL's engine on top of a PKCS#11 module
 * @property {string} nginxStream nginx's stream module
 */

/**
 * @returns {Promise<Tools>}
 * @throws an Error that names every missing package and the command that installs them.
 */
export async function findTools() {
  /** @type {string[]} */
  const missing = []
  for (const [command, packages] of Object.entries(COMMANDS)) {
    if (!(await isCommand(command))) missing.push(packages)
  }
  /** @param {keyof typeof LIBRARIES} name */
  const find = async (name) => {
    for (const path of LIBRARIES[name].paths) if (await exists(path)) return path
    missing.push(LIBRARIES[name].package)
    return ''
  }
  const tools = {
    softhsm: await find('softhsm'),
    pkcs11Engine: await find('pkcs11Engine'),
    nginxStream: await find('nginxStream'),
  }
  if (missing.length > 0) {
    throw new Error(`missing on this machine; install with: sudo apt-get install ${missing.join(' ')}`)
  }
  return tools
}

/**
 * @typedef {object} LoadTools paths of the compiled load generators
 * @property {string} handshakeLoad
 * @property {string} keepaliveProbe
 * @property {string} idleHold
 */

/**
 * Compiles the load generators; takes about two seconds, so they are made anew for each run.
 *
 * @param {string} dir
 * @returns {Promise<LoadTools>}
 */
export async function compileLoadTools(dir) {
  const shared = [`${benchDir}load/client.c`, `${benchDir}load/measure.c`]
  /** @param {string} name */
  const compile = async (name) => {
    const flags = ['-O2', '-std=gnu11', '-Wall', '-Wextra', '-o', `${dir}/${name}`]
    await run('cc', [...flags, `${benchDir}load/${name}.c`, ...shared, '-lssl', '-lcrypto', '-lpthread'])
    return `${dir}/${name}`
  }
  const [handshakeLoad, keepaliveProbe, idleHold] = await Promise.all([
    compile('handshake-load'),
    compile('keepalive-probe'),
    compile('idle-hold'),
  ])
  return { handshakeLoad, keepaliveProbe, idleHold }
}

/** @param {string} command */
async function isCommand(command) {
  const path = process.env['PATH'] ?? ''
  for (const dir of [...path.split(':'), '/usr/sbin']) if (await exists(`${dir}/${command}`)) return true
  return false
}

/** @param {string} path */
async function exists(path) {
  return access(path).then(
    () => true,
    () => false,
  )
}
