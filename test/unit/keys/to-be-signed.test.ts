/** What is built here is accepted by OpenSSL, for every kind of key; and what was changed afterwards is not. */

import { spawnSync } from 'node:child_process'
import {
  constants,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  X509Certificate,
} from 'node:crypto'
import { expect, test } from 'vitest'
import { parseAlternativeName } from '../../../src/keys/x509/alternative-names.ts'
import { pem } from '../../../src/keys/x509/der.ts'
import { parseDistinguishedName } from '../../../src/keys/x509/distinguished-name.ts'
import { isSignedBy } from '../../../src/keys/x509/signed.ts'
import { subjectOf } from '../../../src/keys/x509/subject-of.ts'
import {
  certificationRequest,
  selfIssuedCertificate,
  signedStructure,
  type ToBeSigned,
} from '../../../src/keys/x509/to-be-signed.ts'
import { type SignatureScheme, type SignatureSchemeName, schemes } from '../../../src/signing.ts'

const SUBJECT = {
  subject: parseDistinguishedName('CN=www.example.com,O=Example GmbH,C=DE'),
  names: [
    'dns:www.example.com',
    'ip:2001:db8::1',
    'uri:spiffe://example.com/web',
    'email:web@example.com',
  ].map(parseAlternativeName),
}
const DAY_MS = 86_400_000

const KEYS: readonly (readonly [
  SignatureSchemeName,
  () => { publicKey: KeyObject; privateKey: KeyObject },
])[] = [
  ['ecdsa_secp256r1_sha256', () => generateKeyPairSync('ec', { namedCurve: 'P-256' })],
  ['ecdsa_secp384r1_sha384', () => generateKeyPairSync('ec', { namedCurve: 'P-384' })],
  ['ecdsa_secp521r1_sha512', () => generateKeyPairSync('ec', { namedCurve: 'P-521' })],
  ['ed25519', () => generateKeyPairSync('ed25519')],
  ['rsa_pkcs1_sha256', () => generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ['rsa_pss_rsae_sha256', () => generateKeyPairSync('rsa', { modulusLength: 2048 })],
]

test.each(KEYS)('a request and a certificate signed with %s are verified by openssl', (name, generate) => {
  const scheme = schemeOf(name)
  const { publicKey, privateKey } = generate()
  const key = { spki: publicKey.export({ type: 'spki', format: 'der' }), scheme }
  const nowMs = Date.now()

  const request = signed(certificationRequest(SUBJECT, key), privateKey)
  const validity = { notBeforeMs: nowMs - DAY_MS, notAfterMs: nowMs + DAY_MS }
  const certificate = signed(selfIssuedCertificate(SUBJECT, key, validity), privateKey)

  const shown = openssl(['req', '-verify', '-noout', '-text'], pem('CERTIFICATE REQUEST', request))
  expect(shown).toContain('verify OK')
  expect(shown).toContain('Subject: C = DE, O = Example GmbH, CN = www.example.com')
  expect(shown).toContain(
    'DNS:www.example.com, IP Address:2001:DB8:0:0:0:0:0:1, URI:spiffe://example.com/web, email:web@example.com',
  )
  const read = new X509Certificate(certificate)
  expect(read.verify(createPublicKey(publicKey.export({ type: 'spki', format: 'pem' })))).toBe(true)
  expect({ ca: read.ca, keyUsage: read.keyUsage, issuer: read.issuer }).toEqual({
    ca: false,
    keyUsage: ['1.3.6.1.5.5.7.3.1'],
    issuer: read.subject,
  })
  expect(isSignedBy(key.spki, request)).toBe(true)
  expect(isSignedBy(key.spki, certificate)).toBe(true)
})

test('a request whose content was changed is signed by nobody', () => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  const request = signed(
    certificationRequest(SUBJECT, { spki, scheme: schemeOf('ecdsa_secp256r1_sha256') }),
    privateKey,
  )

  const changed = Buffer.from(request)
  changed.write('evil', changed.indexOf('www.'))

  expect(isSignedBy(spki, changed)).toBe(false)
})

test('what a certificate says of its subject can be asked for again', () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const key = { spki: publicKey.export({ type: 'spki', format: 'der' }), scheme: schemeOf('ed25519') }
  const certificate = signed(
    selfIssuedCertificate(SUBJECT, key, { notBeforeMs: 0, notAfterMs: DAY_MS }),
    privateKey,
  )

  expect(subjectOf(certificate)).toEqual(SUBJECT)
})

test('validity past 2049 has a year of four digits', () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const key = { spki: publicKey.export({ type: 'spki', format: 'der' }), scheme: schemeOf('ed25519') }
  const notAfterMs = Date.UTC(2051, 5, 1)

  const certificate = signed(selfIssuedCertificate(SUBJECT, key, { notBeforeMs: 0, notAfterMs }), privateKey)

  expect(Date.parse(new X509Certificate(certificate).validTo)).toBe(notAfterMs)
})

function schemeOf(name: SignatureSchemeName): SignatureScheme {
  const scheme = schemes.find((scheme) => scheme.name === name)
  if (scheme === undefined) throw new Error(`no scheme ${name}`)
  return scheme
}

function signed(toBeSigned: ToBeSigned, privateKey: KeyObject): Buffer {
  return signedStructure(toBeSigned, signatureOf(toBeSigned, privateKey, toBeSigned.scheme))
}

function signatureOf(
  { der }: ToBeSigned,
  key: KeyObject,
  { hash, padding, saltLength }: SignatureScheme,
): Buffer {
  if (padding !== 'pss') return sign(hash ?? null, der, key)
  return sign(hash ?? null, der, {
    key,
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: saltLength ?? 0,
  })
}

function openssl(args: readonly string[], input: string): string {
  const { status, stdout, stderr, error } = spawnSync('openssl', args, { input, encoding: 'utf8' })
  if (error !== undefined) throw new Error('openssl is needed: apt-get install openssl', { cause: error })
  expect({ status, stderr }).toMatchObject({ status: 0 })
  return stdout + stderr
}
