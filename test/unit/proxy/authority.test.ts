import { expect, test } from 'vitest'
import { compileAuthorities } from '../../../src/proxy/authority.ts'

const belongs = compileAuthorities([
  ['default.test', 'also-default.test'],
  ['shop.test', '*.shop.test'],
  ['shop.test', 'rsa-only.test'], // the RSA certificate beside it
  ['other.test'],
])

test.each([
  ['shop.test', 'shop.test'],
  ['shop.test', 'SHOP.test:8443'],
  ['shop.test', 'shop.test.'],
  ['Shop.Test.', 'shop.test'],
  ['shop.test', 'www.shop.test'], // another name of the certificate: browsers use one connection for both
  ['shop.test', 'rsa-only.test'], // a name of either certificate that serves the asked one
  ['www.shop.test', 'shop.test'],
  ['unknown.test', 'unknown.test'], // it got the default certificate, and stayed
  ['unknown.test', 'default.test'],
  ['192.0.2.1', '192.0.2.1:443'],
  ['shop.test', '192.0.2.1'], // no server name can be an address
  ['shop.test', '[2001:db8::1]:8443'],
])('over a connection for %s a request for %s is served', (serverName, host) => {
  expect(belongs(serverName, host)).toBe(true)
})

test.each([
  ['shop.test', 'other.test'],
  ['shop.test', 'a.b.shop.test'], // a wildcard is one label
  ['shop.test', 'hop.test'],
  ['www.shop.test', 'default.test'],
  ['other.test', 'shop.test'],
  ['shop.test', '192.0.2.1.evil.test'],
  ['unknown.test', 'other.test'],
  ['shop.test', '*.shop.test.evil.test'],
])('over a connection for %s a request for %s is misdirected', (serverName, host) => {
  expect(belongs(serverName, host)).toBe(false)
})

test.each([
  ['default.test', true],
  ['also-default.test:8443', true],
  ['127.0.0.1:8443', true], // a probe
  ['[::1]:8443', true],
  ['', true], // HTTP/1.0 without Host
  ['shop.test', false],
  ['unknown.test', false],
])('without a server name a request for "%s" is served: %s', (host, served) => {
  expect(belongs(undefined, host)).toBe(served)
})

test('a certificate without a DNS name covers what the client asked for, and addresses', () => {
  const addressOnly = compileAuthorities([[]])

  expect(addressOnly('a.test', 'a.test')).toBe(true)
  expect(addressOnly(undefined, '192.0.2.1')).toBe(true)
  expect(addressOnly(undefined, 'a.test')).toBe(false)
})
