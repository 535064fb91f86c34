/** An HSM that does not answer: the operator is told which one, and how long the command waits for it. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Faults } from '../support/p11-faults.ts'
import { sealgateCommand } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'

let site: Site

beforeAll(() => {
  site = new Site()
})

afterAll(() => site?.[Symbol.dispose]())

test('`keys list` names the HSM that it waits for, and shows its keys in the end', async () => {
  const faults = new Faults(site.softHsm, 'slow')
  faults.set(`C_Login delay ${SLOW_MS * 1000}`)
  const file = join(site.directory, 'slow.yaml')
  const hsms = { 'hsm-a': { ...site.member(), ...faults.options } }
  writeFileSync(file, JSON.stringify(site.config([9], { hsms })))

  const { status, stdout, stderr } = await sealgateCommand(['keys', 'list', '--config', file])

  expect(stderr).toBe('hsm "hsm-a": no answer for 10 s; waiting for it, 60 s at most\n')
  expect(stdout).toContain('hsm-a: token ')
  expect(status).toBe(0)
})

/** Longer than the patience of the command, and once. */
const SLOW_MS = 12_000
