import { expect, test } from 'vitest'
import type { Route } from '../../../src/proxy/options.ts'
import { compileRoutes, hostname } from '../../../src/proxy/router.ts'

const router = (...routes: Route[]) => compileRoutes(routes, (name) => name)
const route = (host: string | undefined, path: string | undefined, upstream: string): Route => ({
  host,
  path,
  upstream,
})

test('the first match serves, not the longest', () => {
  const find = router(route(undefined, '/a', 'first'), route(undefined, '/a/b', 'second'))

  expect(find('x', '/a/b')).toBe('first')
  expect(find('x', '/b')).toBeUndefined()
})

test('an asterisk stands for exactly one label', () => {
  const find = router(route('*.example.com', undefined, 'wild'))

  expect(find('www.example.com', '/')).toBe('wild')
  for (const host of ['example.com', 'a.b.example.com', '.example.com', 'wwwexample.com', '']) {
    expect(find(host, '/'), host).toBeUndefined()
  }
})

test('case, port and the final dot of a host are of no matter', () => {
  for (const host of ['Example.COM', 'example.com:8443', 'example.com.', 'EXAMPLE.com.:443']) {
    expect(hostname(host)).toBe('example.com')
  }
  expect(hostname('[2001:DB8::1]:443')).toBe('[2001:db8::1]')
  expect(hostname('')).toBe('')
})

test('the path is compared in one form, however it is spelled; case matters', () => {
  const find = router(route(undefined, '/admin', 'admin'), route(undefined, '/', 'web'))

  for (const path of ['//admin', '/%61dmin', '/./admin', '/x/../admin', '/%2e/admin', '/x/%2E%2e//admin?/..'])
    expect(find('x', path), path).toBe('admin')
  for (const path of ['/admin/../', '/ADMIN', '/x%2fadmin', '/?/admin'])
    expect(find('x', path), path).toBe('web')
})

test('a path of the configuration may be spelled as one likes, too', () => {
  const find = router(route(undefined, '/caf\u00e9%20//x', 'both'))

  for (const path of ['/caf%c3%a9%20/x', '/caf\u00c3\u00a9%20/%78'])
    expect(find('x', path), path).toBe('both')
})

test('a route without conditions in front serves everything', () => {
  const find = router(route(undefined, undefined, 'all'), route('a', '/', 'never'))

  expect(find('a', '/')).toBe('all')
  expect(find('', '*')).toBe('all')
})
