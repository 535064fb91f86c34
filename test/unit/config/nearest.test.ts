import { expect, test } from 'vitest'
import { editDistance, nearest, suggestion } from '../../../src/config/nearest.ts'

test.each([
  ['', '', 0],
  ['abc', '', 3],
  ['token', 'tokn', 1],
  ['token', 'toekn', 1],
  ['kitten', 'sitting', 3],
])('from "%s" to "%s" it takes %i edits', (a, b, distance) => {
  expect(editDistance(a, b)).toBe(distance)
  expect(editDistance(b, a)).toBe(distance)
})

test('a slip of the finger finds its word, another word does not', () => {
  const keys = ['handshake_timeout', 'ticket_rotation', 'pin']

  expect(nearest('handshakeTimeout', keys)).toBe('handshake_timeout')
  expect(nearest('handshake-timeout', keys)).toBe('handshake_timeout')
  expect(nearest('pni', keys)).toBe('pin')
  expect(nearest('certificates', keys)).toBeUndefined()
  expect(nearest('a', ['b', 'c'])).toBeUndefined()
  expect(nearest('web', [])).toBeUndefined()
})

test('a suggestion is a half-sentence, or nothing', () => {
  expect(suggestion('wbe', ['web'])).toBe('; did you mean "web"?')
  expect(suggestion('x'.repeat(1_000_000), ['web'])).toBe('')
})
