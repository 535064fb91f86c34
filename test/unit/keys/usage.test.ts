import { expect, test } from 'vitest'
import type { KeyInventory, KeyUse } from '../../../src/config/key-inventory.ts'
import { cloningWay } from '../../../src/keys/cluster.ts'
import { keyUri, type TokenKey } from '../../../src/keys/key-facts.ts'
import { usesOf } from '../../../src/keys/usage.ts'

const KEY: TokenKey = {
  label: 'web',
  id: '0a0b',
  kind: 'private',
  type: 'p-256',
  attributes: {
    sensitive: true,
    alwaysSensitive: true,
    extractable: false,
    neverExtractable: true,
    local: true,
    sign: true,
    decrypt: false,
    unwrap: false,
    derive: false,
    alwaysAuthenticate: null,
  },
  spki: null,
}

function use(key: Partial<KeyUse['key']>): KeyUse {
  const whole = { label: 'web', id: undefined, uri: 'pkcs11:object=web', hsms: ['a'], ...key }
  return { place: 'certificates[0]', path: [], key: whole, chain: undefined, certificate: undefined }
}

/** A use by a certificate whose public key is this. */
function certified(spki: string, key: Partial<KeyUse['key']>): KeyUse {
  const certificate = {
    file: 'web.pem',
    chain: [],
    spki: Buffer.from(spki),
    names: [],
    keyType: 'ec' as const,
    notAfterMs: 0,
  }
  return { ...use(key), chain: 'web.pem', certificate }
}

function placesOf(uses: readonly KeyUse[], sharing: readonly string[], spki?: string): number {
  const inventory: KeyInventory = { file: '', text: '', hsms: [], uses, admin: undefined, audit: undefined }
  const key = { ...KEY, spki: spki === undefined ? null : Buffer.from(spki).toString('base64') }
  return usesOf(inventory, key, new Set(sharing)).length
}

test('a URI uses every key that it names, by label, by id, or by both', () => {
  expect(placesOf([use({})], ['a'])).toBe(1)
  expect(placesOf([use({ label: undefined, id: Buffer.from('0a0b', 'hex') })], ['a'])).toBe(1)
  expect(placesOf([use({ id: Buffer.from('0a', 'hex') })], ['a'])).toBe(0)
  expect(placesOf([use({ label: 'other' })], ['a'])).toBe(0)
})

test('a secret key and a private key of one name are two keys', () => {
  expect(placesOf([use({ uri: 'pkcs11:object=web;type=secret-key' })], ['a'])).toBe(0)
})

test('a key of the same name in another token is another key', () => {
  expect(placesOf([use({ hsms: ['b'] })], ['a'])).toBe(0)
  expect(placesOf([use({ hsms: ['b'] })], ['a', 'b'])).toBe(1)
})

test('a certificate uses the key that it is for, whatever its URI names', () => {
  expect(placesOf([certified('this', { label: 'other' })], ['a'], 'this')).toBe(1)
  expect(placesOf([certified('that', {})], ['a'], 'this')).toBe(0)
  expect(placesOf([certified('this', { label: 'other', hsms: ['b'] })], ['a'], 'this')).toBe(0)
  // A token that does not show the public half: the name has to do.
  expect(placesOf([certified('this', {})], ['a'])).toBe(1)
  expect(placesOf([certified('this', { label: 'other' })], ['a'])).toBe(0)
})

test('the name that a member has of its own decides there', () => {
  const byHsm = new Map([['b', { label: 'elsewhere', id: undefined, uri: 'pkcs11:object=elsewhere' }]])

  expect(placesOf([use({ hsms: ['b'], byHsm })], ['b'])).toBe(0)
  expect(placesOf([use({ hsms: ['a', 'b'], byHsm })], ['a'])).toBe(1)
})

test('a URI names label and id in their encodings', () => {
  expect(keyUri({ label: 'web ü;', id: '0aff' })).toBe('pkcs11:object=web%20%C3%BC%3B;id=%0a%ff;type=private')
  expect(keyUri({ label: '', id: '01' })).toBe('pkcs11:id=%01;type=private')
  expect(keyUri({ label: 't', id: '', kind: 'secret' })).toBe('pkcs11:object=t;type=secret-key')
})

test.each([
  ['SoftHSM project', /share one token folder/],
  ['Cavium Networks', /one cluster share their keys/],
  ['SafeNet, Inc.', /partition clone/],
  ['somebody else', /cloning, backup or replication/],
])('how keys of %s come into a second HSM is told', (manufacturer, way) => {
  expect(cloningWay({ manufacturer, model: '', serial: '', label: '' })).toMatch(way)
})
