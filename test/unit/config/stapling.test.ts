/** `ocsp`, for all certificates and for single ones: where responses come from, and whose word counts. */

import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { StaplingSource } from '../../../src/stapling/options.ts'
import { type Issued, OcspCa } from '../../support/ocsp-ca.ts'
import { type ConfigFixture, configFixture, GOOD } from './config-fixture.ts'

let fixture: ConfigFixture
let directory: string
let ca: OcspCa
let leaf: Issued

beforeAll(() => {
  fixture = configFixture()
  directory = mkdtempSync(join(tmpdir(), 'sealgate-config-ocsp-'))
  ca = new OcspCa(directory)
  leaf = ca.issue({ responder: 'http://ocsp.example.test' })
})

afterAll(() => {
  fixture[Symbol.dispose]()
  rmSync(directory, { recursive: true, force: true })
})

test('without a word, what the certificate names is fetched, verified by what follows the leaf', async () => {
  const config = await fixture.load(configOf({}))

  expect(config.stapling).toEqual({ cache: undefined, timeoutMs: 10_000, startWaitMs: 5_000 })
  expect(config.certificates[0]?.stapling).toEqual({
    kind: 'fetch',
    responder: undefined,
    file: undefined,
    issuer: issuer(),
    explicit: false,
    required: false,
  })
  expect(config.warnings).toEqual([])
})

test('the settings for all have units, and paths from the file', async () => {
  const config = await fixture.load(
    configOf({ all: 'staple: off, cache: ./ocsp, timeout: 500ms, missing: refuse, start_wait: 1m' }),
  )

  const cache = join(fixture.directory, 'ocsp')
  expect(config.stapling).toEqual({ cache, timeoutMs: 500, startWaitMs: 60_000 })
  expect(config.certificates[0]?.stapling).toMatchObject({ kind: 'off', required: true, explicit: false })
})

test.each<[string, Partial<StaplingSource>]>([
  ['off', { kind: 'off', explicit: true, required: true }],
  ['fetch', { kind: 'fetch', explicit: true, required: true }],
  ['{ responder: "http://127.0.0.1:81/x" }', { kind: 'fetch', responder: 'http://127.0.0.1:81/x' }],
  ['{ missing: serve }', { kind: 'fetch', required: false }],
  ['{ file: web.ocsp }', { kind: 'file', file: 'web.ocsp', explicit: true }],
])('ocsp: %s of a certificate goes before the settings for all', async (own, expected) => {
  const config = await fixture.load(configOf({ all: 'staple: off, missing: refuse', own }))

  const { file } = expected
  const whole = file === undefined ? expected : { ...expected, file: join(fixture.directory, file) }
  expect(config.certificates[0]?.stapling).toMatchObject(whole)
})

test('the issuer may be one of several in a file of its own', async () => {
  const bundle = join(directory, 'bundle.pem')
  const other = new OcspCa(directory, 'other')
  writeFileSync(bundle, `${readFileSync(other.certificate, 'utf8')}${readFileSync(ca.certificate, 'utf8')}`)

  const config = await fixture.load(configOf({ chain: leaf.leaf, own: `{ issuer: ${bundle} }` }))

  expect(config.certificates[0]?.stapling.issuer).toEqual(issuer())
})

test('a chain without the issuer is a warning where the certificate names a responder, else nothing', async () => {
  const named = await fixture.load(configOf({ chain: leaf.leaf }))
  const silent = await fixture.load(configOf({ chain: ca.issue().leaf }))
  const off = await fixture.load(configOf({ chain: leaf.leaf, own: 'off' }))

  expect(named.warnings).toEqual([
    expect.stringMatching(/no OCSP response can be verified: .*holds the leaf only/),
  ])
  expect(silent.warnings).toEqual([])
  expect(off.warnings).toEqual([])
})

test.each<[string, string, RegExp]>([
  ['own: fecth', 'certificates[0].ocsp', /^must be off, fetch, or a map/],
  ['own: yes', 'certificates[0].ocsp', /^must be off, fetch, or a map/],
  ['own: { fiel: x }', 'certificates[0].ocsp.fiel', /unknown key; did you mean "file"/],
  ['own: { file: a, responder: "http://a" }', 'certificates[0].ocsp.responder', /excludes file/],
  ['own: { responder: "ftp://a" }', 'certificates[0].ocsp.responder', /begins with http/],
  ['own: { responder: nowhere }', 'certificates[0].ocsp.responder', /begins with http/],
  ['own: { missing: ignore }', 'certificates[0].ocsp.missing', /must be serve or refuse/],
  ['all: staple: file', 'ocsp.staple', /must be fetch or off/],
  ['all: stapel: off', 'ocsp.stapel', /unknown key; did you mean "staple"/],
  ['all: timeout: 5', 'ocsp.timeout', /needs a unit/],
  ['all: timeout: 1ms', 'ocsp.timeout', /too small/],
  ['all: start_wait: 1h', 'ocsp.start_wait', /too large/],
])('%s is refused at its place', async (what, path, message) => {
  const [kind, ...words] = what.split(': ')
  const [problem, ...more] = await fixture.problems(configOf({ [String(kind)]: words.join(': ') }))

  expect(problem).toMatchObject({ path, message: expect.stringMatching(message), line: expect.any(Number) })
  expect(problem?.column).toBeGreaterThan(0)
  expect(more).toEqual([])
})

test.each<[string, () => string, RegExp]>([
  ['is not there', () => 'absent.pem', /no such file/],
  ['holds no certificate', () => write('empty.pem', 'nothing'), /no certificate in PEM/],
  ['is damaged', () => write('damaged.pem', pem('AAAA')), /damaged or cut off/],
  [
    'is cut off in the issuer',
    () => write('cut.pem', `${pemOf(leaf.leaf)}${pemOf(ca.certificate).slice(0, 99)}`),
    /damaged or cut off/,
  ],
  ['holds somebody else', () => new OcspCa(directory, 'else').certificate, /not hold the issuer.*CN=ocsp-ca/],
  ['has the name only', () => impostor(), /not hold the issuer/],
])('an issuer file that %s is an error', async (_what, file, message) => {
  const problems = await fixture.problems(configOf({ chain: leaf.leaf, own: `{ issuer: ${file()} }` }))

  expect(problems).toMatchObject([
    { path: 'certificates[0].ocsp.issuer', message: expect.stringMatching(message) },
  ])
})

test('to ask for stapling without an issuer is an error', async () => {
  const problems = await fixture.problems(configOf({ chain: leaf.leaf, own: 'fetch' }))

  expect(problems).toMatchObject([
    {
      path: 'certificates[0].ocsp',
      code: 'ERR_CONFIG_CERTIFICATE',
      message: expect.stringMatching(/issuer/),
    },
  ])
})

function configOf(options: { chain?: string; own?: string; all?: string }): string {
  const { chain = leaf.chain, own, all } = options
  const certificate = own === undefined ? '' : `\n    ocsp: ${own}`
  return GOOD.replace('chain: leaf.pem', `chain: ${chain}${certificate}`).concat(
    all === undefined ? '' : `ocsp: { ${all} }\n`,
  )
}

function issuer(): Uint8Array {
  return Uint8Array.from(new X509Certificate(readFileSync(ca.certificate)).raw)
}

/** A CA with the name of ours and another key. */
function impostor(): string {
  const folder = mkdtempSync(join(directory, 'impostor-'))
  return new OcspCa(folder).certificate
}

function write(name: string, text: string): string {
  const file = join(directory, name)
  writeFileSync(file, text)
  return file
}

function pemOf(file: string): string {
  return readFileSync(file, 'utf8')
}

function pem(base64: string): string {
  return `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`
}
