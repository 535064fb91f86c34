import { expect, test } from 'vitest'
import { table } from '../../../src/cli/table.ts'

test('a label cannot write elsewhere than in its column', () => {
  const text = table([
    ['LABEL', 'ID'],
    ['www\x1b[2J\nroot', '01'],
    ['M\xfcller', '02'],
  ])

  expect(text).toBe('LABEL               ID\nwww\\x1b[2J\\x0aroot  01\nM\xfcller              02\n')
})
