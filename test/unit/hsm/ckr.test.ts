import { createRequire } from 'node:module'
import { expect, test } from 'vitest'

import { CODES } from '../../../src/errors.ts'
import { CKR, returnValue } from '../../../src/hsm/ckr.ts'

// An independent list of the standard's names and numbers.
const binding: Record<string, unknown> = createRequire(import.meta.url)('pkcs11js')
const named = Object.entries(binding).filter(
  (entry): entry is [string, number] => entry[0].startsWith('CKR_') && typeof entry[1] === 'number',
)

test('every return value that the binding knows has its name', () => {
  expect(named.length).toBeGreaterThan(80)
  for (const [name, rv] of named) {
    if (name !== 'CKR_VENDOR_DEFINED') expect(returnValue(rv).name).toBe(name)
  }
})

test('a value without a name keeps its number, and is taken for an HSM that may be busy', () => {
  expect(returnValue(0x8000_0123)).toEqual({
    name: '0x80000123',
    code: 'ERR_HSM_FAILED',
    action: 'if-lasting',
    busy: false,
  })
})

test('whatever may be about the PIN stops, and nothing else does', () => {
  for (const [name, rv] of named) {
    const { code, action } = returnValue(rv)
    expect(action === 'stop', name).toBe(code === 'ERR_HSM_PIN')
    if (/^CKR_PIN_/.test(name)) expect(action, name).toBe('stop')
  }
})

test('what says that a session, login, handle or token is gone climbs from the rung that brings it back', () => {
  const climbing = named
    .map(([name, rv]) => [name, returnValue(rv).action])
    .filter(([, action]) => ['login', 'keys', 'module'].includes(action ?? ''))

  expect(Object.fromEntries(climbing)).toEqual({
    CKR_USER_NOT_LOGGED_IN: 'login',
    CKR_KEY_HANDLE_INVALID: 'keys',
    CKR_OBJECT_HANDLE_INVALID: 'keys',
    CKR_SLOT_ID_INVALID: 'module',
    CKR_DEVICE_REMOVED: 'module',
    CKR_TOKEN_NOT_PRESENT: 'module',
    CKR_TOKEN_NOT_RECOGNIZED: 'module',
    CKR_CRYPTOKI_NOT_INITIALIZED: 'module',
  })
})

test('every answer lets the signature be tried elsewhere: another member has another PIN', () => {
  for (const [name, rv] of named) expect(CODES[returnValue(rv).code].retryable, name).toBe(true)
})

test('the values compared by name are those of the table', () => {
  expect(Object.entries(CKR).map(([name, rv]) => [`CKR_${name}`, returnValue(rv).name])).toEqual(
    Object.keys(CKR).map((name) => [`CKR_${name}`, `CKR_${name}`]),
  )
})
