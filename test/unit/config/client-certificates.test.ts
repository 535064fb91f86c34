/** `client_certificate`: what becomes of it, and what is said of files and words that are wrong. */

import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readRevocationListDates } from '../../../src/config/revocation-list.ts'
import { readTrustFiles } from '../../../src/config/trust-files.ts'
import { ClientCa } from '../../support/client-ca.ts'
import { type ConfigFixture, configFixture, good } from './config-fixture.ts'

let fixture: ConfigFixture
let ca: ClientCa
let crl: string

beforeAll(() => {
  fixture = configFixture()
  ca = new ClientCa(fixture.directory, 'clients')
  crl = ca.revoke([ca.issue('gone')])
  file('clients.crl', crl)
})

afterAll(() => fixture?.[Symbol.dispose]())

function file(name: string, text: string | Uint8Array): string {
  writeFileSync(join(fixture.directory, name), text)
  return name
}

/** The good configuration, its listener with `client_certificate`. */
function asking(client: string, rest = 'upstream: web'): string {
  return good('protocol: http, upstream: web }', `protocol: http, ${rest}, client_certificate: ${client} }`)
}

test('names become rules, headers and DER; everything has a default', async () => {
  const config = await fixture.load(
    asking(`{
      mode: require, ca: clients.pem, crl: [clients.crl],
      allow: { dns: ["*.a.example"], spiffe: ["spiffe://a/b/*"], spki: ["sha256//${'A'.repeat(43)}="] },
      headers: { subject: X-Who } }`),
  )

  const [listener] = config.listeners
  if (listener?.protocol !== 'http') throw new Error('no http listener')
  expect(listener.clientAuthentication).toMatchObject({
    mode: 'require',
    checkRevocation: 'chain',
    depth: 2,
    keepChain: false,
    allow: [
      { kind: 'dns', pattern: '*.a.example' },
      { kind: 'spiffe', pattern: 'spiffe://a/b/*' },
      { kind: 'spki', pattern: `${'A'.repeat(43)}=` },
    ],
  })
  expect(listener.clientAuthentication?.trust.authorities).toHaveLength(1)
  expect(listener.clientAuthentication?.trust.revocationLists).toHaveLength(1)
  expect(listener.http.clientFields).toMatchObject({
    certificate: 'Client-Cert',
    chain: undefined,
    subject: 'X-Who',
  })
  expect(listener.http.reservedFields).toEqual(['client-cert', 'x-who'])
})

describe('a file that is wrong is named with its line and the cure', () => {
  const complaint = async (client: string): Promise<string> =>
    (await fixture.complaints(asking(client))).join('\n')
  const withCa = (name: string) => complaint(`{ mode: require, ca: ${name} }`)
  const withCrl = (name: string) => complaint(`{ mode: require, ca: clients.pem, crl: [${name}] }`)

  test('missing, empty, without a block, DER, of another kind', async () => {
    expect(await withCa('none.pem')).toMatch(/client_certificate\.ca: .*none\.pem: there is no such file/)
    expect(await withCa(file('empty.pem', ' \n'))).toContain('empty.pem is empty')
    expect(await withCa(file('text.pem', 'hello'))).toContain(
      'holds no certificate (no -----BEGIN CERTIFICATE-----)',
    )
    expect(await withCa(file('der.pem', new Uint8Array([0x30, 0x82, 1, 1])))).toContain(
      'is DER, not PEM: convert it with openssl x509',
    )
    expect(await withCa('clients.crl')).toContain('clients.crl, line 1, holds a X509 CRL, not a CERTIFICATE')
    expect(await withCa('clients.key')).toContain('holds a private key')
    expect(await withCrl('clients.pem')).toMatch(
      /client_certificate\.crl\[0\]: .*line 1, holds a CERTIFICATE/,
    )
  })

  test('cut off, damaged, or too large', async () => {
    const pem = readFileSync(ca.certificate, 'utf8')
    expect(await withCa(file('cut.pem', `${pem}${pem.slice(0, 200)}`))).toMatch(
      /certificate 2 in .*cut\.pem \(line \d+\) cannot be read/,
    )
    expect(await withCa(file('cut.pem', `${pem}-----BEGIN CERTI`))).toMatch(/cut\.pem .*cut off/)
    expect(await withCa(file('bad.pem', pem.replace(/MII.{20}/, 'AAAA')))).toMatch(
      /certificate 1 in .*bad\.pem \(line 1\) cannot be read: it is damaged/,
    )
    expect(await withCrl(file('cut.crl', crl.slice(0, 150)))).toMatch(
      /revocation list 1 in .*cut\.crl \(line 1\) cannot be read/,
    )
    expect(await withCrl(file('bad.crl', crl.replace(/\nM.{20}/, '\nAAAA')))).toContain('damaged or cut off')
    expect(await withCa(file('huge.pem', pem.repeat(8_000)))).toContain('huge.pem is too large')
  })

  test('a certificate that is no CA', async () => {
    const { certificate } = ca.issue('alice')
    expect(await withCa(certificate)).toMatch(
      /certificate 1 in .* \(line 1\) \(O=Example, CN=alice\) is no CA \(basicConstraints\)/,
    )
  })

  test('an expired revocation list', async () => {
    expect(await withCrl(file('old.crl', ca.revoke([], { days: -1 })))).toMatch(
      /old\.crl \(line 1\) has expired \(its next update was due on .*fetch the current list/,
    )
  })
})

test('an expired CA is a warning: its clients are refused, others are not', () => {
  const soon = readTrustFiles(
    { authorities: [ca.certificate], revocationLists: [] },
    Date.now() + 40 * 86_400_000,
  )

  expect(soon.trust.authorities).toHaveLength(1)
  expect(soon.problems).toMatchObject([{ level: 'warning', message: expect.stringContaining('expired on') }])
})

test('words that are wrong are named with the cure', async () => {
  const complaints = await fixture.complaints(
    asking(`{
      mode: require, ca: clients.pem,
      allow: { dns: ["a.*.example"], uri: ["*"], spiffe: ["https://a/b"], email: ["a"], spki: ["abc"] },
      headers: { san: "X Y" } }`),
  )

  const text = complaints.join('\n')
  expect(text).toMatch(/allow\.dns\[0\]: is no DNS name/)
  expect(text).toMatch(/allow\.uri\[0\]: is no URI/)
  expect(text).toMatch(/allow\.spiffe\[0\]: is no SPIFFE ID/)
  expect(text).toMatch(/allow\.email\[0\]: is no email address/)
  expect(text).toMatch(/allow\.spki\[0\]: is no pin/)
  expect(text).toMatch(/headers\.san: is no name of a header/)
})

test('headers with a meaning of their own, and two of one name, are refused', async () => {
  const text = (
    await fixture.complaints(
      asking('{ mode: require, ca: clients.pem, headers: { subject: Host, serial: X-A, fingerprint: x-a } }'),
    )
  ).join('\n')

  expect(text).toMatch(/headers\.subject: Host has a meaning of its own/)
  expect(text).toMatch(/headers\.fingerprint: x-a is used twice/)
})

test('a mode that is none is named with those there are', async () => {
  expect(await fixture.complaints(asking('{ mode: optional, ca: clients.pem }'))).toEqual([
    'listeners[0].client_certificate.mode: must be request or require',
  ])
})

test('an empty allow would lock everybody out', async () => {
  expect(await fixture.complaints(asking('{ mode: require, ca: clients.pem, allow: {} }'))).toEqual([
    'listeners[0].client_certificate.allow: is empty: nobody would be let in; name somebody, or remove the key',
  ])
})

test('a route can require only what its listener asks for', async () => {
  const routes = 'routes: [{ upstream: web, client_certificate: require }]'
  const plain = good('protocol: http, upstream: web }', `protocol: http, ${routes} }`)

  expect(await fixture.complaints(plain)).toEqual([
    'listeners[0].routes[0].client_certificate: needs a listener that asks for certificates: give the listener client_certificate with mode: request and ca',
  ])
  await fixture.load(asking('{ mode: request, ca: clients.pem }', routes))
})

describe('the dates of a revocation list', () => {
  const der = (pem: string) => Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64')

  test('are those that openssl shows', () => {
    const args = [
      'crl',
      '-in',
      join(fixture.directory, 'clients.crl'),
      '-noout',
      '-lastupdate',
      '-nextupdate',
    ]
    const [last = '', next = ''] = execFileSync('openssl', args, { encoding: 'utf8' }).trim().split('\n')

    expect(readRevocationListDates(der(crl))).toEqual({
      thisUpdateMs: Date.parse(last.replace('lastUpdate=', '')),
      nextUpdateMs: Date.parse(next.replace('nextUpdate=', '')),
    })
  })

  test('are none of a list that is cut off anywhere, or has something after it', () => {
    const whole = der(crl)
    for (let size = 0; size < whole.length; size++)
      expect(readRevocationListDates(whole.subarray(0, size))).toBeUndefined()
    expect(readRevocationListDates(Buffer.concat([whole, Buffer.from([0])]))).toBeUndefined()
  })
})

test('a folder in place of a file is named', async () => {
  mkdirSync(join(fixture.directory, 'folder'))
  expect(await fixture.complaints(asking('{ mode: require, ca: folder }'))).toEqual([
    expect.stringMatching(/folder is a directory, not a file$/),
  ])
})
