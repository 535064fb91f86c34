// @ts-check
/** The development HSM in its folder: SoftHSM's configuration, the PIN, the token, the certificates. */

import { randomBytes } from 'node:crypto'
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { issueMissingCertificates, KEYS } from './credentials.mjs'
import { isRunning } from './lock.mjs'
import { Stop } from './steps.mjs'
import { makeToken, softhsmConf } from './token.mjs'
import { softhsmModule } from './tools.mjs'

/** @typedef {import('./paths.mjs').StatePaths} StatePaths */

/**
 * Makes the token unless it is there. Each file appears whole or not at all, so that the next run completes
 * what an interrupted one has begun.
 *
 * @param {StatePaths} paths
 * @returns {string} a few words on what was done
 */
export function makeHsm(paths) {
  if (UNSPEAKABLE.test(paths.tokens)) {
    throw new Stop(
      `SoftHSM cannot be told of ${paths.tokens}: there must be no # and no = in its path. Choose another folder: --state DIR`,
      69,
    )
  }
  mkdirSync(paths.state, { recursive: true, mode: 0o700 })
  for (const folder of [paths.audit, paths.tickets]) mkdirSync(folder, { recursive: true, mode: 0o700 })
  removeLeftovers(paths.state)
  linkModule(paths.module)
  // Written each time: it holds an absolute path, and a checkout may be moved.
  writeFileSync(paths.conf, softhsmConf(paths.tokens))
  makePin(paths.pin)
  if (existsSync(paths.tokens)) return 'already made'
  makeToken({ module: paths.module, tokens: paths.tokens, pin: readPin(paths), keys: KEYS })
  return `made, with ${KEYS.length} keys generated in it`
}

/**
 * @param {StatePaths} paths
 * @param {{ renew?: boolean }} [options]
 * @returns {string} a few words on what was done
 * @throws {Stop} status 69 when the token cannot be used
 */
export function makeCertificates(paths, { renew = false } = {}) {
  const { module, conf, certs } = paths
  try {
    return issueMissingCertificates({ module, conf, certs, pin: readPin(paths), renew })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Stop(
      `The development token in ${paths.state} cannot be used: ${reason}.\nRemove that folder and run this again; new keys will be made.`,
      69,
    )
  }
}

/**
 * What a killed set-up was building; the number in the name is its process.
 *
 * @param {string} state
 */
function removeLeftovers(state) {
  for (const name of readdirSync(state)) {
    const pid = /\.building-(\d+)$/.exec(name)?.[1]
    if (pid === undefined || isRunning(Number(pid))) continue
    rmSync(join(state, name), { recursive: true, force: true })
  }
}

/** @param {StatePaths} paths */
function readPin(paths) {
  return readFileSync(paths.pin, 'utf8').trim()
}

/**
 * A link rather than a copy of the path: `sealgate.yaml` stays the same on every system.
 *
 * @param {string} link
 */
function linkModule(link) {
  const module = softhsmModule()
  if (module === undefined) throw new Stop('The SoftHSM module has disappeared.', 69)
  if (existsSync(link) && readlinkSync(link) === module) return
  const building = `${link}.building-${process.pid}`
  rmSync(building, { force: true })
  symlinkSync(module, building)
  renameSync(building, link)
}

/**
 * link() refuses to replace: of two set-ups at the same time the second takes the first one's PIN.
 *
 * @param {string} path
 */
function makePin(path) {
  if (existsSync(path)) return
  const building = `${path}.building-${process.pid}`
  writeFileSync(building, `${randomBytes(18).toString('base64url')}\n`, { mode: 0o600 })
  try {
    linkSync(building, path)
  } catch (error) {
    if (!existsSync(path)) throw error
  } finally {
    rmSync(building, { force: true })
  }
}

/** In a SOFTHSM2_CONF # begins a comment, and only the first = of a line may stand there. */
const UNSPEAKABLE = /[#=\n]/
