/**
 * README.md keeps its word: each code block runs.
 *
 *   console         a session: what is typed after `$ `, and lines that must come out (… stands for anything)
 *   yaml config     loads, once its files are there
 *   sh running      each line succeeds while `npm start` runs
 *   sh docker       agrees with the Dockerfile; quickstart-image.test.ts builds it
 *
 * Ports are free ones instead of those in the text, and the token is in a temporary folder.
 */

import { execFile } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { type CodeBlock, codeBlocks } from '../support/markdown.ts'
import { checkout, type NpmStart, npmStart } from '../support/npm-start.ts'

const run = promisify(execFile)
const readme = join(checkout, 'README.md')
const blocks = codeBlocks(readme)
const BUILD_MS = 300_000
// npx links the checkout into its cache first.
const COMMAND_MS = 60_000

let folder: string
let started: NpmStart

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sealgate-readme-'))
  started = await npmStart({ state: join(folder, 'state') })
}, BUILD_MS)

afterAll(async () => {
  await started?.stop()
  rmSync(folder, { recursive: true, force: true })
})

test('every code block says what it is, and each kind is there', () => {
  expect(new Set(blocks.map(({ info }) => info))).toEqual(
    new Set(['console', 'yaml config', 'sh running', 'sh docker']),
  )
})

describe.each(blocksOf('console'))('the session in line $line', ({ text }) => {
  test.each(sessionsIn(text))('$command prints what is shown', async ({ command, shown }) => {
    const output = command === 'npm start' ? started.output() : await typed(command)

    for (const line of shown) expect(output).toMatch(linePattern(line))
  })
})

test.each(blocksOf('sh running'))(
  'the commands in line $line succeed',
  async ({ text }) => {
    for (const command of text.trim().split('\n')) await typed(command)
  },
  120_000,
)

test.each(blocksOf('yaml config'))(
  'the configuration in line $line loads without a warning',
  async ({ text }) => {
    const root = join(folder, 'example')
    mkdirSync(join(root, 'certs'), { recursive: true })
    copyFileSync(join(folder, 'state/certs/localhost.ecdsa.pem'), join(root, 'certs/example.ecdsa.pem'))
    writeFileSync(join(root, 'any'), 'there is something here\n', { mode: 0o600 })
    const file = join(root, 'sealgate.yaml')
    writeFileSync(file, text.replaceAll(/(?<=module: |file: )\/[\w./-]+/g, join(root, 'any')))

    const config = await loadConfig(file)

    expect(config.warnings).toEqual([])
    expect(config.listeners.map(({ protocol }) => protocol)).toEqual(['http', 'tcp', 'redirect'])
  },
)

test.each(blocksOf('sh docker'))('the image in line $line is run as its Dockerfile wants', ({ text }) => {
  const [build = '', start = ''] = text.trim().split('\n')
  const dockerfile = readFileSync(join(checkout, 'Dockerfile'), 'utf8')
  const image = /-t (\S+) \.$/.exec(build)?.[1]
  const [options = '', command = ''] = start.split(` ${image} `)
  const config = /^run --config (\S+)$/.exec(command)?.[1] ?? ''
  const mounted = [...options.matchAll(/-v [^:\s]+:([^:\s]+):ro/g)].map(([, path]) => path ?? '')

  expect(dockerfile).toContain('ENTRYPOINT ["node", "/app/dist/cli/main.js"]')
  expect(mounted.some((path) => config.startsWith(`${path}/`))).toBe(true)
  expect(/-p \d+:(\d+)/.exec(options)?.[1]).toBe(/^EXPOSE (\d+)$/m.exec(dockerfile)?.[1])
})

test('every file and folder it names is there', () => {
  const text = readFileSync(readme, 'utf8')
  const links = [...text.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, path]) => path ?? '')

  expect(links.length).toBeGreaterThan(0)
  expect(links.filter((path) => !existsSync(join(checkout, path)))).toEqual([])
})

test('every dependency has its reason in it, and nothing else has', () => {
  const { dependencies }: { dependencies: Record<string, string> } = JSON.parse(
    readFileSync(join(checkout, 'package.json'), 'utf8'),
  )
  const section = /## Dependencies, and why\n([\s\S]*?)\n## /.exec(readFileSync(readme, 'utf8'))?.[1] ?? ''
  const named = [...section.matchAll(/^\| ([@\w][\w/, -]*?) +\|/gm)].flatMap(
    ([, names]) => names?.split(', ') ?? [],
  )

  expect(named.filter((name) => name !== 'package').sort()).toEqual(Object.keys(dependencies).sort())
})

function blocksOf(info: string): CodeBlock[] {
  return blocks.filter((block) => block.info === info)
}

/** Commands of a session, each with the lines shown below it. */
function sessionsIn(text: string): { command: string; shown: string[] }[] {
  const sessions: { command: string; shown: string[] }[] = []
  for (const line of text.trimEnd().split('\n')) {
    if (line.startsWith('$ ')) sessions.push({ command: line.slice(2), shown: [] })
    else sessions.at(-1)?.shown.push(line)
  }
  return sessions
}

function linePattern(shown: string): RegExp {
  const parts = shown.split('…').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  return new RegExp(`^${parts.join('.*')}$`, 'm')
}

/** What a user sees who types this in the checkout. */
async function typed(command: string): Promise<string> {
  const here = command
    .replaceAll('localhost:8443', new URL(started.url).host)
    .replaceAll('127.0.0.1:9901', new URL(started.metrics).host)
    .replaceAll('.sealgate/', `${join(folder, 'state')}/`)
  // The message of the failure names the command, which a test that times out does not.
  const { stdout } = await run('sh', ['-c', here], { cwd: checkout, timeout: COMMAND_MS })
  return stdout
}
