// @ts-check
/**
 * Everything between a fresh checkout and a program that can start. Each step looks first whether it is done.
 *
 * Until the npm packages are there, only Node's own modules may be imported: hence the late imports.
 */

import { buildNative, buildTypeScript } from './build.mjs'
import { alone } from './lock.mjs'
import { installNpmPackages } from './npm-packages.mjs'
import { setupLock } from './paths.mjs'
import { Stop, step } from './steps.mjs'
import { installMissing } from './system-packages.mjs'
import { BUILD_TOOLS, SOFTHSM } from './tools.mjs'

/**
 * @param {import('./paths.mjs').StatePaths} paths
 * @param {readonly import('./system-packages.mjs').Requirement[]} [moreTools]
 */
export async function prepare(paths, moreTools = []) {
  checkNode()
  await step('system packages', () => installMissing([...BUILD_TOOLS, ...SOFTHSM, ...moreTools]))
  await alone(setupLock, async () => {
    await step('npm packages', installNpmPackages)
    await step('native addon', buildNative)
    await step('program', buildTypeScript)
  })
  await prepareHsm(paths)
}

/**
 * The last part of it: only what the HSM needs.
 *
 * @param {import('./paths.mjs').StatePaths} paths
 */
export async function prepareHsm(paths) {
  const { makeCertificates, makeHsm } = await import('./make-hsm.mjs')
  await step('development HSM', () => makeHsm(paths))
  await step('certificates', () => makeCertificates(paths))
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > OLDEST.major || (major === OLDEST.major && minor >= OLDEST.minor)) return
  throw new Stop(
    `This is Node ${process.versions.node}; Sealgate needs ${OLDEST.major}.${OLDEST.minor} or newer.`,
    69,
  )
}

/** As package.json, "engines". */
const OLDEST = { major: 20, minor: 18 }
