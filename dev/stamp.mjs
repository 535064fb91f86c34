// @ts-check
/** Skips a build whose inputs have not changed: their digest is kept beside the output. */

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root } from './paths.mjs'

/**
 * @param {object} options
 * @param {string} options.stamp file that holds the digest; removed while the build runs
 * @param {readonly string[]} options.inputs files and folders, relative to the checkout
 * @param {RegExp} options.matching names of the files in those folders that count
 * @param {string} options.output file that must exist afterwards
 * @param {() => Promise<unknown>} options.build
 * @returns {Promise<string>} a few words on what was done
 */
export async function buildOnce({ stamp, inputs, matching, output, build }) {
  const digest = digestOf(inputs, matching)
  if (existsSync(output) && existsSync(stamp) && readFileSync(stamp, 'utf8') === digest)
    return 'already built'
  rmSync(stamp, { force: true })
  await build()
  mkdirSync(dirname(stamp), { recursive: true })
  writeFileSync(stamp, digest)
  return 'built'
}

/**
 * @param {readonly string[]} inputs
 * @param {RegExp} matching
 */
function digestOf(inputs, matching) {
  const hash = createHash('sha256')
  for (const path of inputs.flatMap((input) => filesIn(input, matching))) {
    const content = readFileSync(join(root, path))
    hash.update(`${path}\0${content.length}\0`).update(content)
  }
  return hash.digest('hex')
}

/**
 * @param {string} path a file, or a folder that is searched through
 * @param {RegExp} matching
 * @returns {string[]} sorted
 */
function filesIn(path, matching) {
  if (statSync(join(root, path)).isFile()) return [path]
  return readdirSync(join(root, path), { recursive: true, encoding: 'utf8' })
    .filter((name) => matching.test(name))
    .sort()
    .map((name) => join(path, name))
}
