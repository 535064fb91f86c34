import { generateKeyPairSync, sign, verify } from 'node:crypto'
import { expect, test } from 'vitest'

import { isRawEcdsaLength, writeEcdsaSignature } from '../../../src/hsm/host/ecdsa-signature.ts'

const out = Buffer.alloc(256)
const der = (raw: Uint8Array): Buffer => Buffer.from(out.subarray(0, writeEcdsaSignature(raw, out)))

test.each(['P-256', 'P-384', 'P-521'])(
  'OpenSSL verifies a converted %s signature, 300 times',
  (namedCurve) => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve })
    for (let i = 0; i < 300; i++) {
      const message = Buffer.from(String(i))
      const raw = sign('sha256', message, { key: privateKey, dsaEncoding: 'ieee-p1363' })

      expect(verify('sha256', message, publicKey, der(raw))).toBe(true)
    }
  },
)

test('integers are the shortest that stay positive', () => {
  const raw = Buffer.alloc(64)
  raw[31] = 0x7f
  raw[63] = 0x80

  expect(der(raw).toString('hex')).toBe('300702017f02020080')
  expect(der(Buffer.alloc(64)).toString('hex')).toBe('3006020100020100')
})

test('P-521 at its longest has a length of two bytes', () => {
  const longest = der(Buffer.alloc(132, 0xff))

  expect(longest.subarray(0, 3).toString('hex')).toBe('30818a')
  expect(longest.length).toBe(141)
})

test('what cannot be r and s is told by its length', () => {
  expect([0, 63, 64, 96, 132, 134].map(isRawEcdsaLength)).toEqual([false, false, true, true, true, false])
})
