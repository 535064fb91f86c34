// @ts-check
/** Where the development set-up keeps what it makes. */

import { join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The checkout. */
export const root = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '')

/** Who holds it may change node_modules and build; see lock.mjs. */
export const setupLock = join(root, '.sealgate', 'setup.lock')

/** Who holds it may choose ports for a proxy, and write its configuration, until it listens. */
export const startLock = join(root, '.sealgate', 'start.lock')

/** What the user calls the current folder: npm changes to the checkout and keeps the original in INIT_CWD. */
const userFolder = process.env['INIT_CWD'] ?? process.cwd()

/**
 * The token, its PIN, the certificates and the configuration of one set-up: everything secret or made on
 * this machine is in this one folder, which git ignores.
 *
 * @param {string} [folder] default: `.sealgate` in the checkout
 */
export function statePaths(folder = join(root, '.sealgate')) {
  const state = resolve(userFolder, folder)
  return {
    state,
    /** Link to the SoftHSM module of this machine. */
    module: join(state, 'libsofthsm2.so'),
    /** SOFTHSM2_CONF of the token. */
    conf: join(state, 'softhsm2.conf'),
    tokens: join(state, 'tokens'),
    pin: join(state, 'hsm.pin'),
    certs: join(state, 'certs'),
    ca: join(state, 'certs', 'ca.pem'),
    /** Of the example config/audit.yaml. */
    audit: join(state, 'audit'),
    /** Of the example config/shared-tickets.yaml. */
    tickets: join(state, 'tickets'),
    config: join(state, 'sealgate.yaml'),
  }
}

/** @typedef {ReturnType<typeof statePaths>} StatePaths */

/**
 * A path as the user would type it where they are, quoted for a POSIX shell.
 *
 * @param {string} path absolute
 */
export function shellPath(path) {
  const nearby = relative(userFolder, path)
  const shown = nearby.startsWith('..') ? path : nearby
  return /^[\w./+@%:,-]+$/.test(shown) ? shown : `'${shown.replaceAll("'", "'\\''")}'`
}
