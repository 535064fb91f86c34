// @ts-check
/** What Sealgate's development needs from the system, and which packages have it. */

import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { hasCommand } from './command.mjs'

/** @typedef {import('./system-packages.mjs').Requirement} Requirement */

/**
 * The SoftHSM module of this machine; undefined when it is not installed.
 *
 * @returns {string | undefined}
 */
export function softhsmModule() {
  return softhsmFolders()
    .flatMap((folder) => ['libsofthsm2.so', 'libsofthsm.so'].map((name) => join(folder, name)))
    .find((path) => existsSync(path))
}

/** @type {Requirement['packages']} */
const SOFTHSM_PACKAGES = { apt: ['softhsm2'], dnf: ['softhsm'], apk: ['softhsm'], brew: ['softhsm'] }

/** @type {readonly Requirement[]} */
export const BUILD_TOOLS = [
  command('make', { apt: ['make'], dnf: ['make'], apk: ['make'], brew: ['make'] }),
  command('g++', { apt: ['g++'], dnf: ['gcc-c++'], apk: ['g++', 'linux-headers'], brew: ['gcc'] }),
  command('python3', { apt: ['python3'], dnf: ['python3'], apk: ['python3'], brew: ['python3'] }),
]

/** @type {readonly Requirement[]} */
export const SOFTHSM = [
  {
    name: 'SoftHSM',
    present: () => softhsmModule() !== undefined,
    packages: SOFTHSM_PACKAGES,
  },
]

/** What only the tests use. @type {readonly Requirement[]} */
export const TEST_TOOLS = [
  command('curl', { apt: ['curl'], dnf: ['curl'], apk: ['curl'], brew: ['curl'] }),
  command('openssl', { apt: ['openssl'], dnf: ['openssl'], apk: ['openssl'], brew: ['openssl'] }),
  command('h2load', { apt: ['nghttp2-client'], dnf: ['nghttp2'], apk: ['nghttp2'], brew: ['nghttp2'] }),
  command('softhsm2-util', SOFTHSM_PACKAGES),
  command('pkcs11-tool', { apt: ['opensc'], dnf: ['opensc'], apk: ['opensc'], brew: ['opensc'] }),
  // A second PKCS#11 implementation, and a wire to put between a module and the HSM behind it.
  command('pk12util', { apt: ['libnss3-tools'], dnf: ['nss-tools'], apk: ['nss-tools'], brew: ['nss'] }),
  command('p11-kit', {
    apt: ['p11-kit'],
    dnf: ['p11-kit-server'],
    apk: ['p11-kit', 'p11-kit-server'],
    brew: ['p11-kit'],
  }),
  // Ticket keys may be kept in Redis; reports are looked at in a browser.
  command('redis-server', { apt: ['redis-server'], dnf: ['redis'], apk: ['redis'], brew: ['redis'] }),
  command('chromium', {
    apt: ['chromium'],
    dnf: ['chromium'],
    apk: ['chromium'],
    brew: ['--cask', 'chromium'],
  }),
  // Completion is tried in the shells themselves; bash is everywhere.
  command('zsh', { apt: ['zsh'], dnf: ['zsh'], apk: ['zsh'], brew: ['zsh'] }),
  command('fish', { apt: ['fish'], dnf: ['fish'], apk: ['fish'], brew: ['fish'] }),
  // A server that reads PROXY headers, and what security teams scan a TLS server with.
  command('varnishd', { apt: ['varnish'], dnf: ['varnish'], apk: ['varnish'], brew: ['varnish'] }),
  command('sslscan', { apt: ['sslscan'], dnf: ['sslscan'], apk: ['sslscan'], brew: ['sslscan'] }),
  command('testssl', { apt: ['testssl.sh'], dnf: ['testssl'], apk: ['testssl.sh'], brew: ['testssl'] }),
  // The native tests link the C++ parts outside Node, so they need what Node brings otherwise.
  header('openssl/ssl.h', {
    apt: ['libssl-dev'],
    dnf: ['openssl-devel'],
    apk: ['openssl-dev'],
    brew: ['openssl'],
  }),
  header('uv.h', { apt: ['libuv1-dev'], dnf: ['libuv-devel'], apk: ['libuv-dev'], brew: ['libuv'] }),
  header('gtest/gtest.h', {
    apt: ['libgtest-dev'],
    dnf: ['gtest-devel'],
    apk: ['gtest-dev'],
    brew: ['googletest'],
  }),
]

/** Debian, Fedora, Alpine, Homebrew (Arm and Intel), and a build from source. */
function softhsmFolders() {
  const multiarch = existsSync('/usr/lib')
    ? readdirSync('/usr/lib').map((name) => `/usr/lib/${name}/softhsm`)
    : []
  return [
    '/usr/lib/softhsm',
    ...multiarch,
    '/usr/lib64/pkcs11',
    '/usr/lib64/softhsm',
    '/opt/homebrew/lib/softhsm',
    '/usr/local/lib/softhsm',
  ]
}

/**
 * @param {string} name
 * @param {Requirement['packages']} packages
 * @returns {Requirement}
 */
function command(name, packages) {
  return { name, present: () => hasCommand(name), packages }
}

/**
 * @param {string} name
 * @param {Requirement['packages']} packages
 * @returns {Requirement}
 */
function header(name, packages) {
  const folders = [
    '/usr/include',
    '/usr/local/include',
    '/opt/homebrew/include',
    '/opt/homebrew/opt/openssl/include',
  ]
  return { name, present: () => folders.some((folder) => existsSync(join(folder, name))), packages }
}
