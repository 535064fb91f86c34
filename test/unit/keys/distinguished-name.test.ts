import { expect, test } from 'vitest'
import { distinguishedNameText, parseDistinguishedName } from '../../../src/keys/x509/distinguished-name.ts'

test('RFC 4514 text comes back as it was, its most general part first in the certificate', () => {
  const name = parseDistinguishedName('CN=www.example.com,OU=Web,O=Example\\, Inc.,C=US')

  expect(name.map(({ type }) => type)).toEqual(['2.5.4.6', '2.5.4.10', '2.5.4.11', '2.5.4.3'])
  expect(distinguishedNameText(name)).toBe('CN=www.example.com,OU=Web,O=Example\\, Inc.,C=US')
})

test('an attribute may be named by its number', () => {
  expect(parseDistinguishedName('2.5.4.97=VATDE-1')).toEqual([{ type: '2.5.4.97', value: 'VATDE-1' }])
})

test('nobody at all is a name', () => {
  expect(parseDistinguishedName('')).toEqual([])
})

test.each([
  ['www.example.com', /is no part of a name/],
  ['XX=1', /is no part of a name.*known: CN/],
  ['CN=', /is no part of a name/],
  ['C=Germany', /two capital letters/],
  [`CN=${'a'.repeat(65)}`, /64 at most/],
])('%s is refused', (text, reason) => {
  expect(() => parseDistinguishedName(text)).toThrow(reason)
})
