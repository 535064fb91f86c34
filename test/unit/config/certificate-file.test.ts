/** A chain file becomes what TLS needs; whatever else is in the file is named with its cure. */

import { X509Certificate } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readCertificateFile } from '../../../src/config/certificate-file.ts'
import { type CertificateFixture, certificateFixture, type Issuer } from './certificates-fixture.ts'

const DAY_MS = 86_400_000

let made: CertificateFixture
let root: Issuer
let intermediate: Issuer
let leaf: Issuer

beforeAll(() => {
  made = certificateFixture()
  root = made.issue('root', { ca: true, names: '' })
  intermediate = made.issue('intermediate', { ca: true, names: '', issuer: root })
  leaf = made.issue('leaf', { issuer: intermediate, names: 'DNS:Example.com,DNS:*.example.com,IP:127.0.0.1' })
})
afterAll(() => made[Symbol.dispose]())

function file(name: string, content: string | Buffer): string {
  const path = join(made.directory, name)
  writeFileSync(path, content)
  return path
}

function messages(path: string, nowMs?: number): string[] {
  return readCertificateFile(path, nowMs).problems.map(({ level, message }) => `${level}: ${message}`)
}

describe('a good chain', () => {
  test('is read leaf first, with lower-case DNS names, key type, public key and expiry', () => {
    const path = file('good.pem', made.pem(leaf, intermediate, root))
    const x509 = new X509Certificate(readFileSync(leaf.certificate))

    const { certificate, problems } = readCertificateFile(path)

    expect(problems).toEqual([])
    expect(certificate).toMatchObject({ file: path, names: ['example.com', '*.example.com'], keyType: 'ec' })
    expect(certificate?.chain.map((der) => new X509Certificate(der).subject)).toEqual([
      'CN=leaf',
      'CN=intermediate',
      'CN=root',
    ])
    expect(Buffer.from(certificate?.spki ?? [])).toEqual(
      x509.publicKey.export({ type: 'spki', format: 'der' }),
    )
    expect(certificate?.notAfterMs).toBe(Date.parse(x509.validTo))
  })

  test.each([
    ['rsa', ['rsa:2048']],
    ['ed25519', ['ed25519']],
    ['ec', ['ec', '-pkeyopt', 'ec_paramgen_curve:secp384r1']],
  ])('with a key of type %s is known as such', (keyType, key) => {
    const { certificate } = readCertificateFile(made.issue('typed', { key }).certificate)

    expect(certificate?.keyType).toBe(keyType)
  })

  test('may have comments, Windows line ends and a second path to another root', () => {
    const other = made.issue('other-root', { ca: true, names: '' })
    const text = `# our chain\n${made.pem(leaf, intermediate, other)}`.replaceAll('\n', '\r\n')

    const { certificate, problems } = readCertificateFile(file('crlf.pem', text))

    expect(certificate?.chain.length).toBe(3)
    expect(problems.map(({ level }) => level)).toEqual(['warning'])
  })
})

describe('a chain that cannot be used', () => {
  test('out of order: says which certificate does not issue which', () => {
    const path = file('order.pem', made.pem(intermediate, leaf))

    expect(messages(path)[0]).toMatch(
      /^error: certificate 2 .*CN=leaf.* is not the issuer of certificate 1 .*leaf first/,
    )
    expect(readCertificateFile(path).certificate).toBeUndefined()
  })

  test('with a private key: refuses it without a byte of the key', () => {
    const key = readFileSync(leaf.key, 'utf8')
    const path = file('key.pem', made.pem(leaf) + key)

    const { certificate, problems } = readCertificateFile(path)

    expect(certificate).toBeUndefined()
    expect(problems.map(({ level }) => level)).toEqual(['secret'])
    expect(JSON.stringify(problems)).not.toContain(key.split('\n')[1])
  })

  test.each([
    ['nothing in it', '', /is empty/],
    ['no certificate', 'hello\n', /holds no certificate/],
    [
      'a damaged one',
      '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n',
      /certificate 1 .* damaged/,
    ],
  ])('with %s: says so', (_, content, expected) => {
    expect(messages(file('broken.pem', content))).toEqual([expect.stringMatching(expected)])
  })

  test('cut off anywhere: is never taken for a shorter chain', () => {
    const whole = made.pem(leaf, intermediate)
    const second = whole.indexOf('-----BEGIN', 1)
    const end = whole.trimEnd().length
    for (let length = second + 1; length < end; length += 1) {
      expect(messages(file('cut.pem', whole.slice(0, length)))).toEqual([
        expect.stringMatching(
          /^error: certificate 2 in .*cut\.pem cannot be read: it is damaged or cut off$/,
        ),
      ])
    }
    expect(messages(file('cut.pem', whole.slice(0, end)))).toEqual([])
  })

  test('with a certificate cut off in the middle of the file: says which', () => {
    const text = `${made.pem(leaf)}${made.pem(intermediate).slice(0, 200)}\n${made.pem(root)}`

    expect(messages(file('middle.pem', text))).toEqual([expect.stringMatching(/certificate 2 .* cut off/)])
  })

  test('in DER: names the command that converts it', () => {
    const der = new X509Certificate(readFileSync(leaf.certificate)).raw

    expect(messages(file('leaf.der', der))).toEqual([expect.stringContaining('openssl x509 -inform der')])
  })

  test('that is missing or a directory: says so', () => {
    expect(messages(join(made.directory, 'none.pem'))).toEqual([
      expect.stringContaining('there is no such file'),
    ])
    expect(messages(made.directory)).toEqual([expect.stringContaining('is a directory')])
  })

  test.each([
    ['a short RSA key', ['rsa:1024'], /RSA key of 1024 bits/],
    ['another curve', ['ec', '-pkeyopt', 'ec_paramgen_curve:secp256k1'], /EC key on secp256k1/],
    ['another algorithm', ['ed448'], /key of type ed448/],
  ])('with %s: names what is supported', (_, key, expected) => {
    expect(messages(made.issue('weak', { key }).certificate)).toEqual([expect.stringMatching(expected)])
  })
})

describe('what is served, but doubtful, is a warning', () => {
  test('an expired certificate, one that expires soon, and one that is not valid yet', () => {
    const path = leaf.certificate
    const x509 = new X509Certificate(readFileSync(path))
    const notAfter = Date.parse(x509.validTo)

    expect(messages(path, notAfter + DAY_MS)).toEqual([expect.stringMatching(/^warning: .* expired on 20/)])
    expect(messages(path, notAfter - 3.5 * DAY_MS)).toEqual([expect.stringMatching(/^warning: .* in 3 days/)])
    expect(messages(path, Date.parse(x509.validFrom) - DAY_MS)).toEqual([
      expect.stringMatching(/^warning: .* not valid before/),
    ])
    expect(readCertificateFile(path, notAfter + DAY_MS).certificate).toBeDefined()
  })

  test('names only in the common name, or none at all', () => {
    const common = made.issue('www.example.org', { names: '' })
    const none = made.issue('none', { names: 'IP:127.0.0.1', subject: '/CN=Some Company Ltd' })

    expect(readCertificateFile(common.certificate)).toMatchObject({
      certificate: { names: ['www.example.org'] },
      problems: [{ level: 'warning', message: expect.stringContaining('common name') }],
    })
    expect(readCertificateFile(none.certificate)).toMatchObject({
      certificate: { names: [] },
      problems: [{ level: 'warning', message: expect.stringContaining('no DNS name') }],
    })
  })
})
