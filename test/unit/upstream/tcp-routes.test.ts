import { expect, test } from 'vitest'
import { compileTcpRoutes } from '../../../src/upstream/tcp-routes.ts'

const route = compileTcpRoutes([
  { serverName: 'db.test', alpn: 'postgresql', upstream: 'database' },
  { serverName: '*.mail.test', alpn: undefined, upstream: 'mail' },
  { serverName: undefined, alpn: 'mqtt', upstream: 'broker' },
])

test.each([
  ['db.test', 'postgresql', 'database'],
  ['DB.test', 'postgresql', 'database'],
  ['a.mail.test', undefined, 'mail'],
  ['a.mail.test', 'mqtt', 'mail'],
  ['other.test', 'mqtt', 'broker'],
  [undefined, 'mqtt', 'broker'],
])('server name %s with protocol %s goes to %s', (serverName, alpnProtocol, upstream) => {
  expect(route({ serverName, alpnProtocol })).toBe(upstream)
})

test.each([
  ['db.test', undefined],
  ['a.b.mail.test', undefined],
  ['mail.test', undefined],
  [undefined, undefined],
])('server name %s with protocol %s goes nowhere', (serverName, alpnProtocol) => {
  expect(() => route({ serverName, alpnProtocol })).toThrow('no route takes a connection')
})

test('a route without conditions takes every connection', () => {
  const only = compileTcpRoutes([{ serverName: undefined, alpn: undefined, upstream: 'all' }])
  expect(only({ serverName: undefined, alpnProtocol: undefined })).toBe('all')
  expect(only({ serverName: 'any.test', alpnProtocol: 'h2' })).toBe('all')
})
