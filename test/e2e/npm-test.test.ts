/** `npm test` itself. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { checkout, nodeUnderTest } from '../support/npm-start.ts'
import { descendants } from '../support/process-tree.ts'

test('Ctrl-C ends all of it, and not only the tool that runs', async () => {
  const child = spawn(nodeUnderTest, ['dev/test.mjs'], { cwd: checkout })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  // It would not stop before all tests have run, this one too.
  const limit = setTimeout(() => child.kill('SIGKILL'), 20_000)

  const ended = once(child, 'close')
  while (!(output.includes('types, tsconfig.json') && descendants(child.pid ?? 0).length > 0)) {
    await delay(10) // until the tool is there
  }

  child.kill('SIGINT')
  const [status] = await ended

  clearTimeout(limit)
  expect(status, output).toBe(130)
  expect(output.match(/^── .*/gm)).toEqual(['── types, tsconfig.json'])
  expect(output).toContain('Stopped by SIGINT.')
})
