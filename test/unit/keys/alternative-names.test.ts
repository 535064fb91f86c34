import { expect, test } from 'vitest'
import {
  alternativeNameText,
  decodeAlternativeNames,
  encodeAlternativeNames,
  parseAlternativeName,
} from '../../../src/keys/x509/alternative-names.ts'
import { encode } from '../../../src/keys/x509/der.ts'

test.each([
  ['www.example.com', 'dns:www.example.com'],
  ['DNS:WWW.Example.com', 'dns:www.example.com'],
  ['*.example.com', 'dns:*.example.com'],
  ['dns:bücher.example', 'dns:xn--bcher-kva.example'],
  ['192.0.2.1', 'ip:192.0.2.1'],
  ['2001:db8::1', 'ip:2001:db8::1'],
  ['ip:::', 'ip:::'],
  ['uri:spiffe://example.com/web', 'uri:spiffe://example.com/web'],
  ['email:web@example.com', 'email:web@example.com'],
])('%s is read as %s, and comes back from DER', (text, read) => {
  const name = parseAlternativeName(text)

  expect(alternativeNameText(name)).toBe(read)
  expect(decodeAlternativeNames(encode(encodeAlternativeNames([name])))?.map(alternativeNameText)).toEqual([
    read,
  ])
})

test.each([
  '',
  'a..b',
  '-a.example',
  '*.*.example',
  'ip:1.2.3',
  'ip:example.com',
  'uri:no scheme',
  'email:nobody',
  `dns:${'a'.repeat(64)}.example`,
])('%j is refused, with the reason', (text) => {
  expect(() => parseAlternativeName(text)).toThrow(/is no (?:DNS name|IP address|URI|mail address)/)
})

test('names that cannot be written again in the same words are not read at all', () => {
  const directoryName = Buffer.from('3004a4023000', 'hex')

  expect(decodeAlternativeNames(directoryName)).toBeUndefined()
})

test.each([
  ['::ffff:192.0.2.1', '00000000000000000000ffffc0000201'],
  ['1::', '00010000000000000000000000000000'],
  ['2001:db8:0:1:2:3:4:5', '20010db8000000010002000300040005'],
])('%s has sixteen bytes in network order', (address, hex) => {
  expect(encode(encodeAlternativeNames([{ kind: 'ip', value: address }])).toString('hex')).toBe(
    `30128710${hex}`,
  )
})
