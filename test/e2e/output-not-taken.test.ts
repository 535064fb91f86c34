/** A command whose output is not taken: `| head` is no failure, a full disk is one. */

import { expect, test } from 'vitest'
import { nodeUnderTest } from '../support/npm-start.ts'
import { program } from '../support/sealgate.ts'
import { runTool } from '../support/tools.ts'

const sealgate = `"${nodeUnderTest}" "${program}"`
const sh = (script: string) => runTool('bash', ['-c', script])

test('a reader that leaves ends nothing, and nobody complains', async () => {
  const { stdout, stderr } = await sh(`(sleep 1; exec ${sealgate} --help; ) | true; echo "\${PIPESTATUS[0]}"`)
  expect([stdout, stderr]).toEqual(['0\n', ''])
})

test('a full disk is told in one line, and is no success', async () => {
  const { status, stderr } = await sh(`exec ${sealgate} --help > /dev/full`)
  expect(status).toBe(74)
  expect(stderr).toBe('sealgate: standard output could not be written (ENOSPC): what it said is incomplete\n')
})
