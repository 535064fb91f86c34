/** Tab in real shells: bash, zsh and fish load what `sealgate completion` prints, and complete with it. */

import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { checkout, nodeUnderTest } from '../support/npm-start.ts'
import { sealgateCommand } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'

let folder: string
let site: Site
let config: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sealgate-completion-'))
  site = new Site()
  config = join(folder, 'my sealgate.yaml')
  writeFileSync(
    config,
    JSON.stringify(site.config([1], { hsms: { 'hsm-a': site.member(), 'hsm-west': site.member() } })),
  )
  mkdirSync(join(folder, 'certs'))
  for (const shell of ['bash', 'zsh', 'fish']) {
    writeFileSync(join(folder, `completion.${shell}`), (await sealgateCommand(['completion', shell])).stdout)
  }
  // Completes like the real one; whatever else it is asked, it only notes.
  const command = join(folder, 'sealgate')
  const program = join(checkout, 'dist/cli/main.js')
  writeFileSync(
    command,
    `#!/bin/sh\n[ "$1" = complete ] && exec '${nodeUnderTest}' '${program}' "$@"\nprintf '%s\\n' "$@" > '${folder}/ran'\n`,
  )
  chmodSync(command, 0o755)
})

afterAll(() => {
  site?.[Symbol.dispose]()
  rmSync(folder, { recursive: true, force: true })
})

describe('bash', () => {
  test.each([
    { line: ['sealgate', 'doct'], gives: ['doctor'] },
    { line: ['sealgate', 'drill', ''], gives: ['module', 'say', 'clear', 'help'] },
    { line: ['sealgate', 'run', '--stri'], gives: ['--strict'] },
    { line: ['sealgate', 'run', '--config', 'my'], gives: ['my sealgate.yaml'] },
    { line: ['sealgate', 'run', '--config', '=', 'my'], gives: ['my sealgate.yaml'] },
    { line: ['sealgate', 'audit', 'verify', 'cer'], gives: ['certs'] },
    { line: ['sealgate', 'completion', 'f'], gives: ['fish'] },
    { line: ['sealgate', 'run', '--strict', '--config', 'x', '--str'], gives: [] },
    {
      line: ['sealgate', 'keys', 'list', '--config', 'my sealgate.yaml', '--hsm', 'hsm-w'],
      gives: ['hsm-west'],
    },
    {
      line: ['sealgate', 'keys', 'csr', '--config', 'my sealgate.yaml', '--certificate', 'localh'],
      gives: ['localhost'],
    },
    {
      line: ['sealgate', 'keys', 'list', '--config', 'my\\ sealgate.yaml', '--hsm', 'hsm-w'],
      gives: ['hsm-west'],
    },
    { line: ['sealgate', 'keys', 'list', '--config', 'nowhere.yaml', '--hsm', ''], gives: [] },
  ])('$line', ({ line, gives }) => {
    const words = line.map((word) => `'${word}'`).join(' ')
    const script = `source completion.bash; COMP_WORDS=(${words}); COMP_CWORD=${line.length - 1}; _sealgate; printf '%s\\n' "\${COMPREPLY[@]}"; complete -p sealgate`

    const [registered, ...values] = shell('bash', ['--norc', '-c', script]).trimEnd().split('\n').reverse()

    expect(registered).toBe('complete -F _sealgate sealgate')
    expect(values.reverse().filter((value) => value !== '')).toEqual(gives)
  })
})

describe('fish', () => {
  test.each([
    { line: 'sealgate doct', gives: /^doctor\tlook at HSMs/m },
    { line: 'sealgate run --stri', gives: /^--strict\t/m },
    { line: 'sealgate run --config my', gives: /my sealgate\.yaml/ },
    { line: "sealgate keys list --config 'my sealgate.yaml' --hsm hsm-w", gives: /^hsm-west$/m },
  ])('$line', ({ line, gives }) => {
    const script = `source completion.fish; complete --do-complete ${JSON.stringify(line)}`

    expect(shell('fish', ['--no-config', '-c', script])).toMatch(gives)
  })
})

describe('zsh', () => {
  test.each([
    { typed: 'sealgate doct\\t--conf\\tmy\\t', ran: ['doctor', '--config', 'my sealgate.yaml'] },
    { typed: 'sealgate completion f\\t', ran: ['completion', 'fish'] },
    {
      typed: "sealgate keys list --config 'my sealgate.yaml' --hsm hsm-w\\t",
      ran: ['keys', 'list', '--config', 'my sealgate.yaml', '--hsm', 'hsm-west'],
    },
  ])('$typed', ({ typed, ran }) => {
    // A pseudo terminal with an interactive shell in it, which is typed at; its own exit is the sign that all is done.
    const script = `
      zmodload zsh/zpty
      zpty terminal zsh -f -i
      zpty -w terminal 'PS1=; autoload -Uz compinit; compinit -D -u; source ./completion.zsh'
      zpty -w terminal $'${typed.replaceAll("'", "\\'")}'
      zpty -w terminal 'exit'
      while zpty -r terminal line; do :; done`
    rmSync(join(folder, 'ran'), { force: true })

    shell('zsh', ['-f', '-c', script])

    expect(readFileSync(join(folder, 'ran'), 'utf8').trimEnd().split('\n')).toEqual(ran)
  })
})

test('a shell that it does not know is a usage error that names those it knows', async () => {
  const { status, stderr } = await sealgateCommand(['completion', 'tcsh'])

  expect(status).toBe(64)
  expect(stderr).toMatch(/bash, zsh, fish/)
})

function shell(name: string, args: readonly string[]): string {
  const { error, status, stdout, stderr } = spawnSync(name, args, {
    cwd: folder,
    encoding: 'utf8',
    timeout: 20_000,
    env: { ...process.env, HOME: folder, TERM: 'dumb', PATH: `${folder}:${process.env['PATH']}` },
  })
  if (error !== undefined && 'code' in error && error.code === 'ENOENT') {
    throw new Error(`${name} is needed: apt-get install ${name}`)
  }
  if (status !== 0) throw new Error(`${name} ended with ${status}: ${stdout}${stderr}`)
  return stdout
}
