/** What the end of a file is taken for, wherever a crash has cut it off. */

import { expect, test } from 'vitest'

import { Chain, jsonFields, NO_HEAD } from '../../../src/audit/chain.ts'
import { ChainCheck, type ChainSummary } from '../../../src/audit/chain-check.ts'
import { tailOf, tornOf } from '../../../src/audit/tail.ts'

test('a log that is cut off at any byte, and gone on with from there, has no findings', () => {
  const bytes = Buffer.from(log().join(''))
  const found = Array.from({ length: bytes.length + 1 }, (_, length) => length).filter(
    (length) => goOn(bytes.subarray(0, length)).findings.length > 0,
  )

  expect(found).toEqual([])
})

test('a record that lacks nothing but its newline counts', () => {
  const lines = log()
  const bytes = Buffer.from(lines.join(''))

  const tail = tailOf(bytes.subarray(0, -1), true)

  expect(tail).toMatchObject({ head: { seq: 4 }, unended: { seq: 5 }, torn: undefined, damaged: false })
  expect(goOn(bytes.subarray(0, -1))).toMatchObject({ records: 6, torn: 1, last: { seq: 6 } })
  expect(tailOf(bytes, true)).toMatchObject({ head: { seq: 5 }, unended: undefined, torn: undefined })
})

test('a whole line at the end that does not follow the record before it is no record of this chain', () => {
  const [first = '', second = '', ...rest] = log()
  const stray = rest.at(-1)?.trimEnd() ?? ''
  const edited = second.trimEnd().replace('"type":"sign"', '"type":"stop"')

  for (const end of [stray, edited]) {
    expect(tailOf(Buffer.from(first + end), true)).toMatchObject({
      head: { seq: 1 },
      unended: undefined,
      torn: { bytes: Buffer.byteLength(end) },
    })
  }
})

/** Three records, half a one, and a start that knows of it with one more behind it. */
function log(): string[] {
  const torn = '{"seq":4,"ti'
  const chain = new Chain(NO_HEAD)
  return [
    chain.append('start', ''),
    chain.append('sign', jsonFields({ serverName: 'müller.example' })),
    chain.append('sign', ''),
    `${torn}\n`,
    chain.append('start', jsonFields({ torn: tornOf(Buffer.from(torn)) })),
    chain.append('sign', ''),
  ]
}

/** As the next start does. */
function goOn(bytes: Buffer): ChainSummary {
  const { head, unended, torn } = tailOf(bytes, true)
  const newline = unended !== undefined || torn !== undefined ? '\n' : ''
  const start = new Chain(unended ?? head ?? NO_HEAD).append('start', jsonFields({ torn }))
  const check = new ChainCheck({ publicKey: undefined, expectHead: undefined })
  const lines = Buffer.concat([bytes, Buffer.from(newline + start)])
    .toString('latin1')
    .split('\n')
  for (const [index, line] of lines.slice(0, -1).entries()) {
    check.line('audit.jsonl', { bytes: Buffer.from(line, 'latin1'), number: index + 1, whole: true })
  }
  return check.end()
}
