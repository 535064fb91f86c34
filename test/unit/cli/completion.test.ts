/** Completion looks into the same tree as the help: what one shows the other offers. */

import { expect, test } from 'vitest'

import { runProgram } from '../../../src/cli/program.ts'

test('every command and option that help shows is offered, and nothing else', async () => {
  const commands = await leafCommands([])

  expect(commands.map((path) => path.join(' '))).toEqual(
    expect.arrayContaining(['run', 'check', 'doctor', 'drill say', 'audit verify', 'completion']),
  )
  for (const path of commands) {
    const shown = names(section(await output([...path, '--help']), 'Options'), /^ {2}(?:-\w, )?(--[\w-]+)/gm)
    expect({ path, options: await offered([...path, '--']) }).toEqual({ path, options: shown })
  }
})

test('an option is offered once, unless it may be repeated', async () => {
  expect(await offered(['run', '--strict', '--st'])).toEqual([])
  expect(await offered(['doctor', '--env', 'A=b', '--en'])).toEqual(['--env'])
})

test('behind a command that is not there nothing is offered but what may follow in its place', async () => {
  expect(await offered(['nowhere', 'che'])).toEqual(['check'])
})

test('a value that is no name is left to whoever types it', async () => {
  expect(await output(['complete', '--', 'doctor', '--token', ''])).toBe(':nothing\n')
  expect(await output(['complete', '--', 'doctor', '--module', ''])).toBe(':files\n')
})

/** Commands without commands below them, e.g. `['drill', 'say']`. */
async function leafCommands(path: readonly string[]): Promise<string[][]> {
  const shown = names(section(await output([...path, '--help']), 'Commands'), /^ {2}(\w[\w-]*)/gm)
  if (shown.length === 0) return [[...path]]
  expect({ path, commands: await offered([...path, '']) }).toEqual({ path, commands: shown })
  const below: string[][] = []
  for (const name of shown.filter((each) => each !== 'help'))
    below.push(...(await leafCommands([...path, name])))
  return below
}

async function offered(words: readonly string[]): Promise<string[]> {
  const lines = (await output(['complete', '--', ...words])).trimEnd().split('\n')
  return lines.filter((line) => !line.startsWith(':')).map((line) => line.split('\t', 1)[0] ?? '')
}

async function output(args: readonly string[]): Promise<string> {
  let text = ''
  const add = (more: string): void => {
    text += more
  }
  await runProgram(args, { out: add, err: add })
  return text
}

function section(help: string, title: string): string {
  return new RegExp(`\\n${title}:\\n([\\s\\S]*?)(?:\\n\\n|$)`).exec(help)?.[1] ?? ''
}

function names(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(([, name = '']) => name)
}
