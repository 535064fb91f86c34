import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'

import { keySchemes, MECHANISMS, offeredSchemes, tls12Schemes } from '../../../src/hsm/mechanism.ts'
import { schemes } from '../../../src/signing.ts'

const names = (list: readonly { name: string }[]): string[] => list.map(({ name }) => name)

test('an EC key signs with the one scheme of its curve, an RSA key with all of RSA', () => {
  expect(names(keySchemes({ keyType: 'ec', curve: 'P-384' }))).toEqual(['ecdsa_secp384r1_sha384'])
  expect(names(keySchemes({ keyType: 'ed25519', curve: undefined }))).toEqual(['ed25519'])
  expect(names(keySchemes({ keyType: 'rsa', curve: undefined }))).toEqual(
    names(schemes.filter(({ keyType }) => keyType === 'rsa')),
  )
})

test('an EC key has the hashes of other curves and SHA-224 too, but not for TLS 1.3', () => {
  const also = tls12Schemes({ keyType: 'ec', curve: 'P-256' })

  expect(names(also)).toEqual(['ecdsa_secp384r1_sha384', 'ecdsa_secp521r1_sha512', 'ecdsa_sha224'])
  expect(also.some(({ tls13 }) => tls13)).toBe(false)
  expect(tls12Schemes({ keyType: 'rsa', curve: undefined })).toEqual([])
})

test('a token without CKM_RSA_PKCS_PSS is offered for TLS 1.2 only', () => {
  const offered = offeredSchemes({ keyType: 'rsa', curve: undefined }, new Set([0x1, 0x1041]))

  expect(offered.length).toBe(3)
  expect(offered.every(({ tls13 }) => !tls13)).toBe(true)
})

test('a token without the mechanism is not offered at all', () => {
  expect(offeredSchemes({ keyType: 'ed25519', curve: undefined }, new Set([0x1041]))).toEqual([])
})

test('a DigestInfo ends where its digest begins and says how long that is', () => {
  for (const scheme of schemes.filter(({ padding }) => padding === 'pkcs1')) {
    const { prefix } = MECHANISMS[scheme.name]
    const digestBytes = createHash(scheme.hash ?? '').digest().length

    // SEQUENCE over everything, OCTET STRING over the digest (RFC 8017 §9.2).
    expect([prefix[0], prefix[1]]).toEqual([0x30, prefix.length - 2 + digestBytes])
    expect([prefix.at(-2), prefix.at(-1)]).toEqual([0x04, digestBytes])
  }
})
