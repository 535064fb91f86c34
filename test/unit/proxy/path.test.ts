import { expect, test } from 'vitest'
import { normalPath, otherReading } from '../../../src/proxy/path.ts'

test.each([
  ['/', '/'],
  ['/a/b?c=%61//..', '/a/b?c=%61//..'],
  ['/a/./b/', '/a/b/'],
  ['/a/b/..', '/a/'],
  ['/a/..', '/'],
  ['/../../a', '/a'],
  ['///a//b//', '/a/b/'],
  ['/.well-known/..x/...', '/.well-known/..x/...'],
  ['/%7Eme/%c3%a9', '/~me/\u00c3\u00a9'],
  ['/a%2fb%5c%3f%23%25', '/a%2Fb%5C%3F%23%25'],
  ['/%252e%252e/%zz%', '/%252e%252e/%zz%'],
])('%s is %s for routes', (target, path) => {
  expect(normalPath(target)).toBe(path)
})

test('slashes in disguise are slashes for some', () => {
  expect(otherReading('/a%2Fb%5cc\\d?%2f')).toBe('/a/b/c/d')
  expect(otherReading('/a/b?c%2fd')).toBeUndefined()
})

test('what servers disagree about is ambiguous', () => {
  for (const path of ['/a/..', '/a/../b', '/a%2f%2e%2e', '/a\\..\\b', '/a/..;x/b', '/a#b', '/..'])
    expect(otherReading(path), path).toBe('ambiguous')
  for (const path of ['/a..b/', '/..a', '/a?b/../c#d']) expect(otherReading(path), path).not.toBe('ambiguous')
})
