import { expect, test } from 'vitest'
import { normalPath, otherReadings } from '../../../src/proxy/path.ts'

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
  expect(otherReadings('/a%2Fb%5cc\\d?%2f')).toEqual(['/a/b/c/d'])
  expect(otherReadings('/a/b?c%2fd')).toEqual([])
})

test('what follows two slashes is a host for some', () => {
  expect(otherReadings('//a/b//c?//d')).toEqual(['/a/b/c', '/b/c'])
  expect(otherReadings('/\\/a/./b')).toEqual(['/a/b', '/b'])
  expect(otherReadings('//a')).toEqual(['/a', '/'])
})

test('a parameter of a segment is none of its name for some', () => {
  expect(otherReadings('/a;x=1/b?c;d')).toEqual(['/a;x=1/b', '/a/b'])
  for (const path of ['/;/a/b', '/%3b/a/b', '/a%3Bx/b', '/;x/a;y/b', '/a/.;/b', '/a;%2Fx/b', '/a/%2e;x/b'])
    expect(otherReadings(path), path).toContain('/a/b')
  expect(otherReadings('/a;%2F../b')).toBe('ambiguous')
  expect(normalPath('/a;x=1/b')).toBe('/a;x=1/b')
})

test('what servers disagree about is ambiguous', () => {
  for (const path of ['/a/..', '/a/../b', '/a%2f%2e%2e', '/a\\..\\b', '/a/..;x/b', '/a#b', '/..'])
    expect(otherReadings(path), path).toBe('ambiguous')
  for (const path of ['/a..b/', '/..a', '/a?b/../c#d'])
    expect(otherReadings(path), path).not.toBe('ambiguous')
})
