/** RFC 7512 as far as a key needs it; a PIN in a URI is never shown. */

import { describe, expect, test } from 'vitest'
import { parsePkcs11Uri, redactPkcs11Uri } from '../../../src/config/pkcs11-uri.ts'

function pathOf(text: string): Record<string, string> {
  const result = parsePkcs11Uri(text)
  if ('error' in result) throw new Error(result.error)
  return Object.fromEntries(
    [...result.uri.path].map(([name, value]) => [name, Buffer.from(value).toString('hex')]),
  )
}

function errorOf(text: string): string {
  const result = parsePkcs11Uri(text)
  return 'error' in result ? result.error : ''
}

describe('a URI', () => {
  test('decodes percent-encoded bytes: an id is binary, a label is UTF-8', () => {
    expect(pathOf('pkcs11:id=%00%FF%2a;object=b%C3%BCro;type=private')).toEqual({
      id: '00ff2a',
      object: Buffer.from('büro').toString('hex'),
      type: Buffer.from('private').toString('hex'),
    })
  })

  test('takes the characters that RFC 7512 allows unencoded, and any case of its scheme', () => {
    expect(pathOf("PKCS11:object=a:[]@!$'()*+,=b/c?pin-source=file:/x")).toHaveProperty('object')
  })

  test('may be empty, and names what stands behind the question mark without its value', () => {
    const result = parsePkcs11Uri('pkcs11:?pin-value=1234&module-path=/x')

    expect(result).toEqual({ uri: { path: new Map(), query: new Set(['pin-value', 'module-path']) } })
  })

  test.each([
    ['object=a', 'starts with'],
    ['pkcs11:objekt=a', 'unknown attribute "objekt"'],
    ['pkcs11:object=a;object=b', 'twice'],
    ['pkcs11:object', 'no value'],
    ['pkcs11:object=a b', 'percent-encoded'],
    ['pkcs11:id=%0', 'percent-encoded'],
    ['pkcs11:id=%zz', 'percent-encoded'],
    ['pkcs11:object=a?x=1', 'unknown query attribute "x"'],
    ['pkcs11:object=a?pin-source=x?y', 'at most one'],
    ['pkcs11:constructor=a', 'unknown attribute'],
  ])('%s is refused', (text, reason) => {
    expect(errorOf(text)).toContain(reason)
  })
})

test.each([
  'pkcs11:object=a?pin-value=PI1234N',
  'pkcs11:object=a?module-path=/x&pin-value=PI1234N&pin-source=y',
  'pkcs11:pin-value=PI1234N;object=a',
  'pkcs11:object=a?PIN-VALUE=PI1234N',
  'pkcs11:object=a?pin-value%3DPI1234N',
])('the PIN of %s is redacted, the rest is kept', (uri) => {
  const shown = redactPkcs11Uri(uri)

  expect(shown).not.toContain('1234')
  expect(shown).toContain('[secret]')
  expect(shown).toContain('object=a')
})
