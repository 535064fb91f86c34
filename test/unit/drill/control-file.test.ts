/** The control file is written whole or not at all, and nothing else is ever overwritten. */

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { sayRules } from '../../../src/drill/control-file.ts'

let directory: string
let file: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sealgate-drill-'))
  file = join(directory, 'hsm-a.faults')
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

test('new rules replace the old ones, and no rules end the drill', () => {
  sayRules(file, ['C_Sign hang', '* delay 1ms'])
  expect(readFileSync(file, 'utf8')).toBe('# sealgate drill\nC_Sign hang\n* delay 1000\n')

  sayRules(file, ['C_Sign wrong'])
  expect(readFileSync(file, 'utf8')).toBe('# sealgate drill\nC_Sign wrong\n')

  sayRules(file, [])
  expect(readFileSync(file, 'utf8')).toBe('# sealgate drill\n')
  expect(readdirSync(directory)).toEqual(['hsm-a.faults'])
})

test('a rule that is wrong leaves what was said before', () => {
  sayRules(file, ['C_Sign hang'])

  expect(() => sayRules(file, ['C_Sign wrong', 'C_Sign hnag'])).toThrow('rule 2, word 2')
  expect(readFileSync(file, 'utf8')).toBe('# sealgate drill\nC_Sign hang\n')
})

test('a file that is something else is not touched', () => {
  writeFileSync(file, 'listeners: []\n')

  expect(() => sayRules(file, [])).toThrow(`${file} is something else`)
  expect(readFileSync(file, 'utf8')).toBe('listeners: []\n')
})

test('a folder that is not there is a message with the path', () => {
  const nowhere = join(directory, 'nowhere', 'faults')

  expect(() => sayRules(nowhere, [])).toThrow(/the control file cannot be written: .*nowhere/)
  expect(existsSync(nowhere)).toBe(false)
})
