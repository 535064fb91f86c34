import { expect, test } from 'vitest'

import { checkpointMessage } from '../../../src/audit/checkpoint-message.ts'
import { isCheckpoint, isHandshakeMessage, isPermitted } from '../../../src/hsm/host/key-use-policy.ts'
import { testMessage } from '../../../src/hsm/test-message.ts'
import { SIGNATURE_SCHEMES, type SignatureScheme, schemes } from '../../../src/signing.ts'

const ecdsa: SignatureScheme = { name: 'ecdsa_secp256r1_sha256', ...SIGNATURE_SCHEMES.ecdsa_secp256r1_sha256 }
const sha224: SignatureScheme = { name: 'ecdsa_sha224', ...SIGNATURE_SCHEMES.ecdsa_sha224 }
const pkcs1: SignatureScheme = { name: 'rsa_pkcs1_sha256', ...SIGNATURE_SCHEMES.rsa_pkcs1_sha256 }

const certificateVerify = (context: string, hashBytes: number): Buffer =>
  Buffer.concat([Buffer.alloc(64, 0x20), Buffer.from(`${context}\0`), Buffer.alloc(hashBytes, 7)])
const serverKeyExchange = (group: number, point: Buffer): Buffer =>
  Buffer.concat([Buffer.alloc(64, 1), Buffer.from([3, group >> 8, group & 0xff, point.length]), point])
const SERVER = 'TLS 1.3, server CertificateVerify'

test.each([32, 48])('a server CertificateVerify with a transcript of %i bytes is signed', (hashBytes) => {
  expect(isHandshakeMessage(ecdsa, certificateVerify(SERVER, hashBytes))).toBe(true)
})

test.each([
  ['secp256r1', 23, Buffer.alloc(65, 4)],
  ['secp384r1', 24, Buffer.alloc(97, 4)],
  ['secp521r1', 25, Buffer.alloc(133, 4)],
  ['x25519', 29, Buffer.alloc(32)],
  ['x448', 30, Buffer.alloc(56)],
])('a ServerKeyExchange with %s is signed, with PKCS#1 v1.5 too', (_, group, point) => {
  expect(isHandshakeMessage(ecdsa, serverKeyExchange(group, point))).toBe(true)
  expect(isHandshakeMessage(pkcs1, serverKeyExchange(group, point))).toBe(true)
})

test.each([
  ['a bare digest', Buffer.alloc(32, 7)],
  ['nothing', Buffer.alloc(0)],
  ['a client’s CertificateVerify', certificateVerify('TLS 1.3, client CertificateVerify', 32)],
  ['a transcript of another length', certificateVerify(SERVER, 64)],
  ['63 spaces', certificateVerify(SERVER, 33).subarray(1)],
  ['no zero byte', Buffer.concat([Buffer.alloc(64, 0x20), Buffer.from(`${SERVER}\x01`), Buffer.alloc(32)])],
  ['a group nobody knows', serverKeyExchange(31, Buffer.alloc(32))],
  [
    'explicit curve parameters',
    Buffer.concat([Buffer.alloc(64), Buffer.from([1, 0, 29, 32]), Buffer.alloc(32)]),
  ],
  ['a compressed point', serverKeyExchange(23, Buffer.alloc(65, 2))],
  ['a point of another curve', serverKeyExchange(23, Buffer.alloc(97, 4))],
  ['something after the point', Buffer.concat([serverKeyExchange(29, Buffer.alloc(32)), Buffer.alloc(1)])],
  ['DHE parameters', Buffer.concat([Buffer.alloc(64), Buffer.from([1, 0]), Buffer.alloc(600)])],
])('%s is refused', (_, message) => {
  for (const scheme of schemes) expect(isHandshakeMessage(scheme, message), scheme.name).toBe(false)
})

test.each([pkcs1, sha224])('$name is refused for TLS 1.3', (scheme) => {
  expect(isHandshakeMessage(scheme, certificateVerify(SERVER, 32))).toBe(false)
  expect(isHandshakeMessage(scheme, serverKeyExchange(29, Buffer.alloc(32)))).toBe(true)
})

test('the pool’s own test message is one that the host signs, for every scheme', () => {
  for (const scheme of schemes)
    expect(isHandshakeMessage(scheme, testMessage(scheme)), scheme.name).toBe(true)
})

test('a checkpoint is signed by its own key and by no other, whatever the record', () => {
  for (const seq of [1, 77, Number.MAX_SAFE_INTEGER]) {
    const message = checkpointMessage({ seq, hash: '0123456789abcdef'.repeat(4) })
    for (const scheme of schemes) {
      expect(isPermitted('audit-checkpoint', scheme, message), scheme.name).toBe(true)
      expect(isPermitted('tls', scheme, message), scheme.name).toBe(false)
    }
  }
})

test('the key of the checkpoints signs no handshake', () => {
  const point = Buffer.alloc(32)
  const messages = [
    certificateVerify(SERVER, 32),
    certificateVerify(SERVER, 48),
    serverKeyExchange(29, point),
  ]
  for (const message of [...messages, testMessage(ecdsa), testMessage(pkcs1)]) {
    for (const scheme of schemes) expect(isPermitted('audit-checkpoint', scheme, message)).toBe(false)
  }
})

test('the test signature of a checkpoint key is no checkpoint', () => {
  const message = testMessage(ecdsa, 'audit-checkpoint')

  expect(isPermitted('audit-checkpoint', ecdsa, message)).toBe(true)
  expect(Buffer.from(message).toString()).not.toContain('record')
})

test.each([
  ['record 0', `Sealgate audit checkpoint 1\nrecord 0\nsha256 ${'a'.repeat(64)}\n`],
  ['another version', `Sealgate audit checkpoint 2\nrecord 1\nsha256 ${'a'.repeat(64)}\n`],
  ['a short hash', `Sealgate audit checkpoint 1\nrecord 1\nsha256 ${'a'.repeat(63)}\n`],
  ['something behind it', `Sealgate audit checkpoint 1\nrecord 1\nsha256 ${'a'.repeat(64)}\n\n`],
  ['something before it', '\nSealgate audit checkpoint 1\ntest signature\n'],
  ['any other text', 'I owe you 1,000,000 euros.\n'],
])('%s is no checkpoint', (_, text) => {
  expect(isCheckpoint(Buffer.from(text))).toBe(false)
})
