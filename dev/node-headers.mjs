// @ts-check
/** The C headers of the Node that is running. */

import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/**
 * The prefix whose `include/node` has the headers of exactly this Node, for node-gyp's `--nodedir`.
 *
 * @returns {string | undefined} undefined: node-gyp has to download them
 */
export function nodeHeaders() {
  const prefix = dirname(dirname(process.execPath))
  const file = join(prefix, 'include/node/node_version.h')
  if (!existsSync(file)) return undefined
  const text = readFileSync(file, 'utf8')
  const version = ['MAJOR', 'MINOR', 'PATCH'].map(
    (part) => new RegExp(`#define NODE_${part}_VERSION (\\d+)`).exec(text)?.[1],
  )
  return version.join('.') === process.versions.node ? prefix : undefined
}
