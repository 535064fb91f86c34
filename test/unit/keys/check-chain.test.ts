/** What of a chain is compared with the key and the certificate in use before it is taken. */

import { X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkChain } from '../../../src/keys/check-chain.ts'
import { pem } from '../../../src/keys/x509/der.ts'
import { type CertificateFixture, certificateFixture, type Issuer } from '../config/certificates-fixture.ts'

let fixture: CertificateFixture
let ca: Issuer
let leaf: Issuer

beforeAll(() => {
  fixture = certificateFixture()
  ca = fixture.issue('ca', { ca: true, names: '' })
  leaf = fixture.issue('www.example.com', { issuer: ca })
})

afterAll(() => fixture?.[Symbol.dispose]())

function checked(text: string): readonly string[] {
  const file = join(fixture.directory, 'chain.pem')
  writeFileSync(file, text)
  const { publicKey } = new X509Certificate(fixture.pem(leaf))
  const spki = publicKey.export({ type: 'spki', format: 'der' }).toString('base64')
  return checkChain(file, { spki, keyName: '"www"', names: ['www.example.com'] }).warnings
}

test('an issuer that has signed the leaf is nothing to speak of; one of the same name that has not is refused', () => {
  expect(checked(fixture.pem(leaf, ca))).toEqual([])
  const other = fixture.issue('other', { ca: true, names: '', subject: '/CN=ca' })
  expect(() => checked(fixture.pem(leaf, other))).toThrow(/1 in .* is not signed by certificate 2/)
})

test('of an issuer with a key of an unknown kind its signature is not looked at, and that is said', () => {
  const der = Buffer.from(new X509Certificate(fixture.pem(ca)).raw)
  const at = der.indexOf(ID_EC_PUBLIC_KEY) + ID_EC_PUBLIC_KEY.length - 1
  der[at] = 0x7f

  expect(checked(fixture.pem(leaf) + pem('CERTIFICATE', der))).toEqual([
    expect.stringMatching(
      /^certificate 2 in .* of a kind OpenSSL does not know: .*certificate 1 was not looked at$/,
    ),
  ])
})

/** RFC 5480 §2.1.1. */
const ID_EC_PUBLIC_KEY = Buffer.from('2a8648ce3d0201', 'hex')
