/** Which certificates a server name is served with, as the HSMs behind their keys come and go. */

import { expect, test } from 'vitest'
import { type KeyType, type SignatureSchemeName, type SigningKey, schemes } from '../../../src/signing.ts'
import { nativeCredentials } from '../../../src/tls/credentials.ts'
import { type Credentials, Offers } from '../../../src/tls/offers.ts'

const GRACE_MS = 2000

/** A key whose state the test sets; nobody asks it to sign. */
interface Key extends SigningKey {
  ready: boolean
  schemes: SigningKey['schemes']
}

function credentials(keyType: KeyType, ...names: string[]): Credentials & { readonly key: Key } {
  return {
    certificate: { file: '', chain: [], spki: new Uint8Array(), names, keyType, notAfterMs: 0 },
    key: {
      ready: true,
      spki: new Uint8Array(),
      schemes: schemes.filter((scheme) => scheme.keyType === keyType),
      sign: () => Promise.reject(new Error('nobody asks')),
    },
  }
}

function named(...names: readonly SignatureSchemeName[]): SigningKey['schemes'] {
  return schemes.filter(({ name }) => names.includes(name))
}

/** `name → certificates` for every name, by index in the configuration. */
function served(offers: Offers, nowMs: number): Record<string, number[]> {
  const entries = nativeCredentials(offers.look(nowMs).offers).flatMap(({ names, certificates }) =>
    names.map((name) => [name, certificates.map(({ keyId }) => keyId)]),
  )
  return Object.fromEntries(entries)
}

test('RSA and ECDSA stand side by side, and the first certificate of a type wins', () => {
  const offers = new Offers(
    [credentials('ec', 'a.test'), credentials('rsa', 'a.test'), credentials('ec', 'a.test')],
    0,
  )

  expect(served(offers, 0)).toEqual({ 'a.test': [0, 1] })
})

test('a key that was never ready leaves its name to the other key type, and gets it back', () => {
  const [ec, rsa] = [credentials('ec', 'a.test'), credentials('rsa', 'a.test')]
  ec.key.ready = false
  const offers = new Offers([ec, rsa], GRACE_MS)

  expect(served(offers, 0)).toEqual({ 'a.test': [1] })
  ec.key.ready = true
  expect(served(offers, 1)).toEqual({ 'a.test': [0, 1] })
})

test('a key that is lost keeps its place for as long as a handshake may wait for it', () => {
  const [ec, rsa] = [credentials('ec', 'a.test'), credentials('rsa', 'a.test')]
  const offers = new Offers([ec, rsa], GRACE_MS)
  offers.look(0)

  ec.key.ready = false
  expect(served(offers, 100)).toEqual({ 'a.test': [0, 1] })
  expect(offers.look(600).againInMs).toBe(GRACE_MS - 500)
  expect(served(offers, 100 + GRACE_MS)).toEqual({ 'a.test': [1] })
  expect(offers.look(100 + GRACE_MS).againInMs).toBeUndefined()
})

test('a later certificate of the same type, then a wildcard, stand in for one that nobody can sign for', () => {
  const [first, second, wildcard] = [
    credentials('ec', 'a.example.test', 'localhost'),
    credentials('ec', 'a.example.test'),
    credentials('ec', '*.example.test'),
  ]
  const offers = new Offers([first, second, wildcard], 0)

  first.key.ready = false
  expect(served(offers, 0)).toEqual({ 'a.example.test': [1], localhost: [0], '*.example.test': [2] })
  second.key.ready = false
  expect(served(offers, 0)).toEqual({ 'a.example.test': [2], localhost: [0], '*.example.test': [2] })
  wildcard.key.ready = false
  expect(served(offers, 0)).toEqual({ 'a.example.test': [0], localhost: [0], '*.example.test': [2] })
})

test('the default stays with the first certificate, also while nobody can sign for it', () => {
  const [first, second] = [credentials('ec', 'a.test'), credentials('ec', 'b.test')]
  first.key.ready = false

  const [standard] = nativeCredentials(new Offers([first, second], 0).look(0).offers)

  expect(standard).toMatchObject({ names: ['a.test'], certificates: [{ keyId: 0 }] })
})

test('the schemes offered are those of the members that are there, and of the last that were', () => {
  const rsa = credentials('rsa', 'a.test')
  const all = rsa.key.schemes
  rsa.key.ready = false
  const offers = new Offers([rsa], 0)
  const offered = () => nativeCredentials(offers.look(0).offers)[0]?.signatureSchemes

  expect(offered()).toBe(all.map(({ name }) => name).join(':'))
  rsa.key.ready = true
  rsa.key.schemes = named('rsa_pkcs1_sha256')
  expect(offered()).toBe('rsa_pkcs1_sha256')
  rsa.key.ready = false
  rsa.key.schemes = all
  expect(offered()).toBe('rsa_pkcs1_sha256')
})

test('a scheme that is lost with its one HSM is offered for as long as a handshake may wait for it', () => {
  const rsa = credentials('rsa', 'a.test')
  const all = rsa.key.schemes
  const pkcs1 = named('rsa_pkcs1_sha256')
  const offers = new Offers([rsa], GRACE_MS)
  const offered = (nowMs: number) => offers.look(nowMs).offers[0]?.schemes
  offers.look(0)

  rsa.key.schemes = pkcs1
  expect(offered(100)).toEqual(all)
  expect(offers.look(600).againInMs).toBe(GRACE_MS - 500)
  rsa.key.schemes = all
  expect(offers.look(700)).toMatchObject({ offers: [{ schemes: all }], againInMs: undefined })
  rsa.key.schemes = pkcs1
  expect(offered(1_000)).toEqual(all)

  expect(offered(1_000 + GRACE_MS)).toEqual(pkcs1)
  expect(offers.look(1_000 + GRACE_MS).againInMs).toBeUndefined()
})

test('what a key of its type could do, and its HSMs cannot, is no loss: it is not offered', () => {
  const rsa = credentials('rsa', 'a.test')
  rsa.key.ready = false
  const offers = new Offers([rsa], GRACE_MS)
  offers.look(0)

  rsa.key.ready = true
  rsa.key.schemes = named('rsa_pkcs1_sha256')
  expect(offers.look(100)).toMatchObject({ offers: [{ schemes: rsa.key.schemes }], againInMs: undefined })
})
