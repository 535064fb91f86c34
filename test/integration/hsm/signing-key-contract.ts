/**
 * What every SigningKey has to do, whoever holds the key. Signatures are verified with OpenSSL.
 *
 * Run on the in-memory key, on SoftHSM, and on SoftHSM behind fail-over (signing-key.test.ts).
 */

import { expect, test } from 'vitest'

import { type SigningKey, Waiter } from '../../../src/signing.ts'
import { handshakeMessage, signRequest, verifies } from '../../support/signing.ts'

/** @param keys called in each test, after the suite's own hooks have run. */
export function signingKeyContract(keys: () => readonly SigningKey[]): void {
  test('every scheme it offers fits its key and gives signatures that OpenSSL verifies', async () => {
    for (const key of keys()) {
      expect(key.schemes.length).toBeGreaterThan(0)
      for (const scheme of key.schemes) {
        const message = handshakeMessage(scheme, scheme.codePoint)

        const signature = await key.sign(signRequest(scheme, { message, timeoutMs: TIMEOUT_MS }))

        expect(verifies(key.spki, scheme, message, signature), scheme.name).toBe(true)
      }
    }
  })

  test('many signatures at once each belong to their own message', async () => {
    for (const key of keys()) {
      const [scheme] = key.schemes
      if (scheme === undefined) throw new Error('no scheme')
      const messages = Array.from({ length: 64 }, (_, seed) => handshakeMessage(scheme, seed))

      const signatures = await Promise.all(
        messages.map((message) => key.sign(signRequest(scheme, { message, timeoutMs: TIMEOUT_MS }))),
      )

      signatures.forEach((signature, at) => {
        expect(verifies(key.spki, scheme, messages[at] ?? new Uint8Array(), signature)).toBe(true)
      })
    }
  })

  test('an ECDSA signature is DER and an RSA signature has the length of the modulus', async () => {
    for (const key of keys()) {
      for (const scheme of key.schemes) {
        const signature = await key.sign(signRequest(scheme, { timeoutMs: TIMEOUT_MS }))

        if (scheme.keyType === 'ec') {
          expect([
            signature[0],
            signature[1] === 0x81 ? 3 + (signature[2] ?? 0) : 2 + (signature[1] ?? 0),
          ]).toEqual([0x30, signature.length])
        }
        if (scheme.keyType === 'rsa') expect(signature.length).toBe(256)
        if (scheme.keyType === 'ed25519') expect(signature.length).toBe(64)
      }
    }
  })

  test('what nobody wants any more is ERR_HSM_SIGN_ABANDONED, or a signature if that was quicker', async () => {
    for (const key of keys()) {
      const [scheme] = key.schemes
      if (scheme === undefined) throw new Error('no scheme')

      const gone = new Waiter()
      gone.leave()
      const early = key.sign(signRequest(scheme, { waiter: gone }))
      const clients = Array.from({ length: 200 }, () => new Waiter())
      const late = Promise.allSettled(
        clients.map((waiter) => key.sign(signRequest(scheme, { waiter, timeoutMs: TIMEOUT_MS }))),
      )
      for (const client of clients) client.leave()

      await expect(early).rejects.toMatchObject({ code: 'ERR_HSM_SIGN_ABANDONED' })
      for (const outcome of await late) {
        if (outcome.status === 'rejected') expect(outcome.reason.code).toBe('ERR_HSM_SIGN_ABANDONED')
        else expect(verifies(key.spki, scheme, handshakeMessage(scheme), outcome.value)).toBe(true)
      }
    }
  })

  test('a deadline that has passed is ERR_HSM_SIGN_TIMEOUT', async () => {
    for (const key of keys()) {
      const [scheme] = key.schemes
      if (scheme === undefined) throw new Error('no scheme')

      const signing = key.sign(signRequest(scheme, { timeoutMs: -1 }))

      await expect(signing).rejects.toMatchObject({ code: 'ERR_HSM_SIGN_TIMEOUT' })
    }
  })
}

// Nothing here is about time, and a busy machine needs its own for dozens of signatures with a slow key.
const TIMEOUT_MS = 20_000
