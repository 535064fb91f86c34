// @ts-check
/** The npm packages of package-lock.json, installed once. Uses nothing but Node's own modules. */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './command.mjs'
import { nodeHeaders } from './node-headers.mjs'
import { root } from './paths.mjs'

/**
 * Installs the packages when node_modules differs from package-lock.json.
 *
 * @returns {Promise<string>} a few words on what was done
 */
export async function installNpmPackages() {
  if (!isInstalled()) {
    // --include=dev: NODE_ENV=production in the user's environment would leave the compiler out.
    await npm(['ci', '--include=dev', '--no-audit', '--no-fund'])
    if (isPkcs11Built()) return 'installed'
  }
  if (isPkcs11Built()) return 'already installed'
  // npm was told to run no install scripts (ignore-scripts), or an earlier build was interrupted.
  await npm(['rebuild', 'pkcs11js', '--ignore-scripts=false'])
  return 'pkcs11js built'
}

/**
 * npm writes node_modules/.package-lock.json last, so an interrupted installation does not look complete.
 * Packages for other platforms are optional in the lock file and absent here.
 */
function isInstalled() {
  const installed = lockedPackages('node_modules/.package-lock.json')
  const wanted = lockedPackages('package-lock.json')
  if (installed === undefined || wanted === undefined) return false
  return Object.entries(wanted).every(([path, locked]) => {
    if (path === '') return true
    const found = installed[path]
    return found === undefined ? locked.optional === true : found.version === locked.version
  })
}

/** @typedef {Record<string, { version?: string, optional?: boolean }>} LockedPackages */

/**
 * @param {string} file
 * @returns {LockedPackages | undefined}
 */
function lockedPackages(file) {
  const path = join(root, file)
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).packages : undefined
}

function isPkcs11Built() {
  return existsSync(join(root, 'node_modules/pkcs11js/build/Release/pkcs11.node'))
}

/** @param {readonly string[]} args */
async function npm(args) {
  const headers = nodeHeaders()
  const env = headers === undefined ? process.env : { ...process.env, npm_config_nodedir: headers }
  await run('npm', args, { cwd: root, env })
}
