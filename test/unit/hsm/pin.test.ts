import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { readPin } from '../../../src/hsm/host/pin.ts'

const folder = mkdtempSync(join(tmpdir(), 'sealgate-pin-'))
const file = join(folder, 'hsm.pin')
afterAll(() => rmSync(folder, { recursive: true }))

test.each([['1234'], ['1234\n'], ['1234\r\n'], ['1234\nsince March\n']])(
  'the PIN is the first line of its file: %j',
  (text) => {
    writeFileSync(file, text)
    expect(readPin({ file })).toBe('1234')
  },
)

test('a byte order mark is refused before it costs a try', () => {
  writeFileSync(file, '\uFEFF1234\n')
  expect(() => readPin({ file })).toThrow(`the PIN begins with a byte order mark (file ${file})`)
})

test('blanks belong to the PIN', () => {
  writeFileSync(file, ' 12 34 \n')
  expect(readPin({ file })).toBe(' 12 34 ')
})

test.each([[''], ['\n1234\n']])('a file whose first line is empty has no PIN: %j', (text) => {
  writeFileSync(file, text)
  expect(() => readPin({ file })).toThrow(`the PIN is empty (file ${file})`)
})
