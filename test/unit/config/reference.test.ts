/** config/README.md and config/schema.json say what the parser does: both are made from its schema. */

import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { jsonSchemaText, referenceText } from '../../../src/config/reference.ts'

describe('the generated reference is up to date (npm run build, then node dist/config/reference.js)', () => {
  test('config/README.md is what the schema says', () => {
    const written = readFileSync(new URL('../../../config/README.md', import.meta.url), 'utf8')

    expect(written).toBe(referenceText())
  })

  test('config/schema.json is what the schema says', () => {
    const written = readFileSync(new URL('../../../config/schema.json', import.meta.url), 'utf8')

    expect(written).toBe(jsonSchemaText())
  })
})

test('every key of the reference says what it is for', () => {
  const rows = referenceText()
    .split('## Errors')[0]
    ?.split('\n')
    .filter((line) => line.startsWith('| `'))

  expect(rows?.length).toBeGreaterThan(40)
  // key, type, default, text: a row without text ends in two bars.
  expect(rows?.filter((line) => /\|\s*\|$/.test(line))).toEqual([])
})
