// @ts-check
/** Builds the addon and the program, each only when its sources have changed. */

import { chmodSync, existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './command.mjs'
import { nodeHeaders } from './node-headers.mjs'
import { root } from './paths.mjs'
import { buildOnce } from './stamp.mjs'

/**
 * The addon: build/Release/sealgate.node, and sign_load.node beside it. One binary serves every Node from 20 on (Node-API), so the version of
 * Node that built it is no reason to build it again.
 *
 * @returns {Promise<string>} a few words on what was done
 */
export function buildNative() {
  return buildOnce({
    stamp: join(root, 'build/sources.sha256'),
    inputs: ['binding.gyp', 'src/native', 'src/bench/native', 'src/drill/pkcs11.h'],
    matching: /\.(cc|h)$/,
    output: join(root, 'build/Release/sealgate.node'),
    build: () => {
      const headers = nodeHeaders()
      const args = headers === undefined ? [] : [`--nodedir=${headers}`]
      return run(process.execPath, [NODE_GYP, 'configure', 'build', '--jobs=max', ...args], { cwd: root })
    },
  })
}

/**
 * The program: dist/cli/main.js and what it imports.
 *
 * @returns {Promise<string>} a few words on what was done
 */
export function buildTypeScript() {
  const main = join(root, 'dist/cli/main.js')
  return buildOnce({
    stamp: join(root, 'dist/sources.sha256'),
    inputs: ['package-lock.json', 'tsconfig.json', 'tsconfig.build.json', 'src'],
    matching: /\.ts$/,
    output: main,
    build: async () => {
      // Anew, for a module that was renamed must not live on; and beside the old, from which a proxy may run: it starts
      // hosts and workers from there at any time.
      const dist = join(root, 'dist')
      const [next, old] = [`${dist}.next`, `${dist}.old`]
      for (const folder of [next, old]) rmSync(folder, { recursive: true, force: true })
      await run(process.execPath, [TSC, '-p', 'tsconfig.build.json', '--outDir', next], { cwd: root })
      chmodSync(join(next, 'cli/main.js'), 0o755)
      if (existsSync(dist)) renameSync(dist, old)
      renameSync(next, dist)
      rmSync(old, { recursive: true, force: true })
    },
  })
}

const NODE_GYP = join(root, 'node_modules/node-gyp/bin/node-gyp.js')
const TSC = join(root, 'node_modules/typescript/bin/tsc')
