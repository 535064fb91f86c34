// @ts-check
/** What the bench needs from the machine: installed as the development environment is, or named with the command that does it. */

import { execFile } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { hasCommand } from '../../dev/command.mjs'
import { installMissing } from '../../dev/system-packages.mjs'
import { SOFTHSM, softhsmModule } from '../../dev/tools.mjs'

/** @typedef {import('../../dev/system-packages.mjs').Requirement} Requirement */

const run = promisify(execFile)
const benchDir = fileURLToPath(new URL('..', import.meta.url))

/** Shared objects that have no command: where the distributions put them. */
const LIBRARIES = {
  pkcs11Engine: ['engines-3/pkcs11.so'],
  nginxStream: ['nginx/modules/ngx_stream_module.so'],
}

/** @type {readonly Requirement[]} */
const BENCH_TOOLS = [
  ...SOFTHSM,
  program('softhsm2-util', { apt: ['softhsm2'], dnf: ['softhsm'], apk: ['softhsm'], brew: ['softhsm'] }),
  program('pkcs11-tool', { apt: ['opensc'], dnf: ['opensc'], apk: ['opensc'], brew: ['opensc'] }),
  program('openssl', { apt: ['openssl'], dnf: ['openssl'], apk: ['openssl'], brew: ['openssl'] }),
  program('cc', { apt: ['gcc', 'libc6-dev'], dnf: ['gcc'], apk: ['gcc', 'musl-dev'], brew: ['gcc'] }),
  {
    name: "OpenSSL's headers",
    present: () => existsSync('/usr/include/openssl/ssl.h'),
    packages: { apt: ['libssl-dev'], dnf: ['openssl-devel'], apk: ['openssl-dev'], brew: ['openssl'] },
  },
  program('nginx', { apt: ['nginx'], dnf: ['nginx'], apk: ['nginx'], brew: ['nginx'] }),
  program('hitch', { apt: ['hitch'], dnf: ['hitch'], apk: ['hitch'], brew: ['hitch'] }),
  program('stunnel', { apt: ['stunnel4'], dnf: ['stunnel'], apk: ['stunnel'], brew: ['stunnel'] }),
  program('wrk', { apt: ['wrk'], dnf: ['wrk'], apk: ['wrk'], brew: ['wrk'] }),
  {
    name: "OpenSSL's pkcs11 engine",
    present: () => library('pkcs11Engine') !== undefined,
    packages: { apt: ['libengine-pkcs11-openssl'], dnf: ['openssl-pkcs11'], apk: ['libp11'], brew: [] },
  },
  {
    name: "nginx's stream module",
    present: () => library('nginxStream') !== undefined,
    packages: {
      apt: ['libnginx-mod-stream'],
      dnf: ['nginx-mod-stream'],
      apk: ['nginx-mod-stream'],
      brew: [],
    },
  },
]

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
  await installMissing(BENCH_TOOLS)
  return {
    softhsm: softhsmModule() ?? '',
    pkcs11Engine: library('pkcs11Engine') ?? '',
    nginxStream: library('nginxStream') ?? '',
  }
}

/**
 * @param {string} name
 * @param {Requirement['packages']} packages
 * @returns {Requirement}
 */
function program(name, packages) {
  // Some are for administrators, and not on everybody's PATH.
  return { name, present: () => hasCommand(name) || existsSync(`/usr/sbin/${name}`), packages }
}

/**
 * @param {keyof typeof LIBRARIES} name
 * @returns {string | undefined}
 */
function library(name) {
  const multiarch = existsSync('/usr/lib')
    ? readdirSync('/usr/lib').map((folder) => `/usr/lib/${folder}`)
    : []
  return ['/usr/lib', '/usr/lib64', ...multiarch]
    .flatMap((folder) => LIBRARIES[name].map((file) => `${folder}/${file}`))
    .find((path) => existsSync(path))
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
