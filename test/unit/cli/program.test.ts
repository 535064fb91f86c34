/** What a person at a terminal gets: help, usage errors with a suggestion, and configuration errors without a stack. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { runProgram } from '../../../src/cli/program.ts'

const directory = mkdtempSync(join(tmpdir(), 'sealgate-cli-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

async function sealgate(...args: string[]): Promise<{ status: number; out: string; err: string }> {
  const written = { out: '', err: '' }
  const status = await runProgram(args, {
    out: (text) => {
      written.out += text
    },
    err: (text) => {
      written.err += text
    },
  })
  return { status, ...written }
}

test('--version prints the version of package.json', async () => {
  const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))

  expect(await sealgate('--version')).toEqual({ status: 0, out: `${version}\n`, err: '' })
})

test('--help shows the commands, an example and the exit statuses', async () => {
  const { status, out, err } = await sealgate('--help')

  expect({ status, err }).toEqual({ status: 0, err: '' })
  for (const text of ['run ', 'check ', '$ sealgate run --config', 'Exit status: 0, 64 usage']) {
    expect(out).toContain(text)
  }
})

test.each([
  [['rnu', '--config', 'x'], /unknown command 'rnu'\n\(Did you mean run\?\)/],
  [['run', '--confg', 'x'], /unknown option '--confg'\n\(Did you mean --config\?\)/],
  [['run'], /--config FILE is missing/],
  [['check', '--config', ''], /--config FILE is missing/],
  [['run', '--config'], /argument missing/],
  [['check', '--config', 'x', 'y'], /too many arguments/],
  [[], /Usage: sealgate/],
])('%j is a usage error', async (args, expected) => {
  const { status, out, err } = await sealgate(...args)

  expect(status).toBe(64)
  expect(out).toBe('')
  expect(err).toMatch(expected)
})

test.each(['run', 'check'])(
  '%s lists all configuration errors, without a stack, and ends with 78',
  async (command) => {
    const file = join(directory, 'bad.yaml')
    writeFileSync(file, 'sining: {}\nlisteners: []\n')

    const { status, out, err } = await sealgate(command, '--config', file)

    expect({ status, out }).toEqual({ status: 78, out: '' })
    expect(err).toBe(
      `${file}:1:1: sining: unknown key; did you mean "signing"?\n` +
        `${file}:2:12: listeners: is empty: give at least one listener\n`,
    )
  },
)
