/** One set-up at a time in a checkout, whatever became of the one before. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { checkout, nodeUnderTest } from '../support/npm-start.ts'

let folder: string
let lock: string
let children: ChildProcess[]

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealgate-lock-'))
  lock = join(folder, 'setup.lock')
  children = []
})
afterEach(() => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

test('a lock of a killed set-up does not hold when its number is by now that of another process', async () => {
  writeFileSync(lock, String(process.pid))

  expect(await inside('console.log("inside")').printed).toBe('inside\n')
  expect(existsSync(lock)).toBe(false)
})

test('who waits says for which process, and goes on when that one is killed', async () => {
  const first = inside('console.log("inside"); await new Promise((done) => setTimeout(done, 60_000))')
  await first.says('inside')
  const second = inside('console.log("inside")')
  await second.says(`waiting for process ${first.child.pid}, which holds ${lock}`)

  first.child.kill('SIGKILL')

  expect(await second.printed).toMatch(/^inside$/m)
})

interface Holder {
  readonly child: ChildProcess
  /** Until it has ended: all that it has printed. */
  readonly printed: Promise<string>
  says(text: string): Promise<void>
}

/** @param work JavaScript, done while the lock is held. */
function inside(work: string, file = lock): Holder {
  const program = `
    import { alone } from './dev/lock.mjs'
    await alone(process.argv[1], async () => { ${work} })`
  const child = spawn(nodeUnderTest, ['--input-type=module', '--eval', program, file], { cwd: checkout })
  children.push(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  return {
    child,
    printed: once(child, 'close').then(() => output),
    async says(text) {
      while (!output.includes(text)) await once(child.stdout, 'data')
    },
  }
}
