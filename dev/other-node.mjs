// @ts-check
/** Another release of Node, to prove that one build of the program runs on several. */

import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './command.mjs'

/**
 * Installs the npm package "node" of that release into a folder of its own.
 *
 * @param {string} folder
 * @param {string} release e.g. `24`
 * @returns {Promise<string>} path of the node binary
 */
export async function installNode(folder, release) {
  const binary = join(folder, 'node_modules/node/bin/node')
  if (runs(binary)) return binary
  mkdirSync(folder, { recursive: true })
  // The package's install script fetches the platform's binary; npm 11 runs only those that are approved here.
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, allowScripts: { node: true } }))
  await run('npm', ['install', '--no-save', '--no-audit', '--no-fund', `node@${release}`], { cwd: folder })
  return binary
}

/** @param {string} binary */
function runs(binary) {
  return spawnSync(binary, ['--version'], { stdio: 'ignore' }).status === 0
}
