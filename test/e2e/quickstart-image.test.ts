/**
 * The Docker image without Docker: the Dockerfile's own steps, replayed in temporary folders, and the program
 * started from what would be in the image: no compiler, no sources, no development packages.
 *
 * What the build needs not do twice is copied along: the addon is compiled already, and its stamp says so.
 */

import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkout, nodeUnderTest } from '../support/npm-start.ts'

const run = promisify(execFile)
const REPLAY_MS = 300_000
const BUILT = ['build/Release/sealgate.node', 'build/Release/sign_load.node', 'build/sources.sha256']

interface Step {
  readonly instruction: string
  readonly rest: string
}

let folder: string
let image: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sealgate-image-'))
  const [build = [], runtime = []] = stages(readFileSync(join(checkout, 'Dockerfile'), 'utf8'))
  const work = join(folder, 'build')
  image = join(folder, 'image')
  await run(nodeUnderTest, ['dev/build-native.mjs'], { cwd: checkout })
  await replayBuild(build, work)
  for (const { instruction, rest } of runtime) if (instruction === 'COPY') copyBetweenStages(rest, work)
}, REPLAY_MS)

afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

test('the program in the image starts and says its version', async () => {
  const { version }: { version: string } = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8'))

  const { stdout } = await run(nodeUnderTest, [join(image, 'dist/cli/main.js'), '--version'], { cwd: folder })

  expect(stdout.trim()).toBe(version)
})

test('the addon and the PKCS#11 binding load from the image', async () => {
  const script = `
    const { loadAddon } = await import(${JSON.stringify(join(image, 'dist/native/addon.js'))})
    const { createRequire } = await import('node:module')
    const pkcs11 = createRequire(${JSON.stringify(join(image, 'dist/'))})('pkcs11js')
    console.log(typeof loadAddon().Terminator, typeof pkcs11.PKCS11)`

  const { stdout } = await run(nodeUnderTest, ['--input-type=module', '-e', script], { cwd: folder })

  expect(stdout.trim()).toBe('function function')
})

test('development packages, sources and what this machine made are not in the image', () => {
  const unwanted = [
    'node_modules/typescript',
    'node_modules/vitest',
    'node_modules/node-gyp',
    'src',
    'dev',
    '.sealgate',
  ]

  expect(unwanted.filter((path) => existsSync(join(image, path)))).toEqual([])
})

function stages(dockerfile: string): Step[][] {
  const stages: Step[][] = []
  for (const line of dockerfile.split('\n')) {
    const [, instruction = '', rest = ''] = /^([A-Z]+) (.*)$/.exec(line) ?? []
    if (instruction === 'FROM') stages.push([])
    else if (instruction !== '') stages.at(-1)?.push({ instruction, rest })
  }
  return stages
}

async function replayBuild(steps: readonly Step[], work: string): Promise<void> {
  mkdirSync(work)
  const ignored = readFileSync(join(checkout, '.dockerignore'), 'utf8').split('\n')
  for (const { instruction, rest } of steps) {
    if (instruction === 'COPY') {
      const [target = '', ...sources] = rest.split(' ').reverse()
      for (const source of sources) {
        expect(ignored, `.dockerignore lets ${source} through`).toContain(`!${source}`)
        cpSync(join(checkout, source), join(work, target === './' ? source : target), { recursive: true })
      }
    }
    if (instruction !== 'RUN') continue
    if (rest === 'npm run build') for (const file of BUILT) cpSync(join(checkout, file), join(work, file))
    await run('sh', ['-c', rest], { cwd: work, env: { ...process.env, npm_config_nodedir: nodePrefix() } })
  }
}

function copyBetweenStages(rest: string, work: string): void {
  const [, source = '', target = ''] = /^--from=build \/app\/(\S+) \.\/(\S*)$/.exec(rest) ?? []
  cpSync(join(work, source), join(image, target === '' ? source : target), {
    recursive: true,
    verbatimSymlinks: true,
  })
}

/** As `ENV npm_config_nodedir` in the Dockerfile: where this Node's headers are, when they are there. */
function nodePrefix(): string | undefined {
  const prefix = dirname(dirname(process.execPath))
  return existsSync(join(prefix, 'include/node/node_api.h')) ? prefix : undefined
}
