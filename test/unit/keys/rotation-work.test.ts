import { expect, test } from 'vitest'
import type { Store } from '../../../src/keys/cluster.ts'
import type { TokenKey } from '../../../src/keys/key-facts.ts'
import { keyAmong } from '../../../src/keys/rotation-work.ts'

const NAME = { label: 'www', id: '01' }
const CURE = 'look yourself'

test('a key that the rotation knows is known by its public key', () => {
  const stores = [store([key('b3RoZXI='), key('b2xk')])]

  expect(keyAmong(stores, { ...NAME, spki: 'b2xk' }, CURE)).toMatchObject({ spki: 'b2xk' })
  expect(keyAmong(stores, { ...NAME, spki: 'Z29uZQ==' }, CURE)).toBeUndefined()
})

test('where a public key is not known, the name has to do', () => {
  expect(keyAmong([store([key('b2xk')])], { ...NAME, spki: null }, CURE)).toMatchObject({ spki: 'b2xk' })
  // What the token does not show, the rotation remembers.
  expect(keyAmong([store([key(null)])], { ...NAME, spki: 'b2xk' }, CURE)).toMatchObject({ spki: 'b2xk' })
})

test('a key that shows its public half goes before one that shows none', () => {
  const shown = { ...key('b2xk'), type: 'rsa-2048' }

  expect(keyAmong([store([key(null), shown])], { ...NAME, spki: 'b2xk' }, CURE)).toEqual(shown)
})

test('of a token with more keys than are read nobody says that a key is gone', () => {
  expect(() =>
    keyAmong(
      [store([], { more: false }), store([key('b3RoZXI=')], { more: true })],
      { ...NAME, spki: 'b2xk' },
      CURE,
    ),
  ).toThrow(/hsm "a" holds more keys than are read.*"www", id 01 may be there.*look yourself/)
  expect(keyAmong([store([key('b2xk')], { more: true })], { ...NAME, spki: 'b2xk' }, CURE)).toMatchObject({
    spki: 'b2xk',
  })
})

function key(spki: string | null): TokenKey {
  const attributes = {
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
  }
  return { ...NAME, kind: 'private', type: 'p-256', attributes, spki }
}

function store(keys: readonly TokenKey[], { more } = { more: false }): Store {
  const token = { label: 'web', serial: '1', manufacturer: 'm', model: 'm' }
  const hsm = {
    name: 'a',
    module: '/nowhere.so',
    token: { label: 'web' },
    pin: { file: '/nowhere.pin' },
    userType: 1,
    sessions: 1,
    env: {},
  }
  return { token, members: [{ hsm, content: { token, keys, more } }] }
}
