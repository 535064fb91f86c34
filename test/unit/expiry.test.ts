/** A certificate on its way to its end, by a clock that the test turns. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { readCertificateFile } from '../../src/config/certificate-file.ts'
import { ExpiryWarnings } from '../../src/expiry.ts'
import { createMetrics, type Metrics } from '../../src/metrics/metrics.ts'
import type { CertificateOptions } from '../../src/tls/options.ts'
import { type CertificateFixture, certificateFixture } from './config/certificates-fixture.ts'

const DAY_MS = 86_400_000

let made: CertificateFixture
let certificate: CertificateOptions
let lines: Record<string, unknown>[]
let metrics: Metrics
let expiry: ExpiryWarnings

beforeAll(() => {
  made = certificateFixture()
  certificate = read(made.issue('leaf', { names: 'DNS:localhost', days: 40 }).certificate)
})

beforeEach(() => {
  lines = []
  metrics = createMetrics()
  expiry = new ExpiryWarnings({ log: pino({}, { write: (line) => lines.push(JSON.parse(line)) }), metrics })
  return () => expiry.close()
})

afterAll(() => made[Symbol.dispose]())

test('30, 14, 7 and 1 days before, and when it has expired, it is told once', () => {
  expiry.watch([certificate])
  expect(lines).toEqual([])

  const told = [31, 29, 28, 13.5, 8, 6.5, 2, 0.5, 0.25, -1, -2].map((daysLeft) => {
    lines.length = 0
    expiry.look(certificate.notAfterMs - daysLeft * DAY_MS)
    return lines.map(({ level, daysLeft: told }) => `${level === 50 ? 'error' : 'warn'} ${told ?? 'expired'}`)
  })

  expect(told).toEqual([
    [],
    ['warn 29'],
    [],
    ['warn 13'],
    [],
    ['error 6'],
    [],
    ['error 0'],
    [],
    ['error expired'],
    [],
  ])
})

test('at the start the nearest threshold is told, and after a renewal nothing', () => {
  const soon = read(made.issue('soon', { names: 'DNS:localhost', days: 10 }).certificate)
  expiry.watch([soon])
  expect(lines).toMatchObject([{ certificate: soon.file, names: ['localhost'], daysLeft: 9 }])

  expiry.watch([soon])
  expiry.watch([certificate])
  expect(lines).toHaveLength(1)
})

test('an issuer that ends before its leaf is the one that is told', () => {
  const issuer = made.issue('issuer', { subject: '/CN=Short CA', ca: true, days: 5 })
  const leaf = made.issue('long', { issuer, names: 'DNS:localhost', days: 90 })
  const file = join(made.directory, 'chain.pem')
  writeFileSync(file, readFileSync(leaf.certificate, 'utf8') + readFileSync(issuer.certificate, 'utf8'))
  expiry.watch([read(file)])

  expect(lines).toMatchObject([{ issuer: 'CN=Short CA', daysLeft: 4 }])
})

test('the metric follows, and forgets certificates that have gone', async () => {
  expiry.watch([certificate])
  expiry.look(certificate.notAfterMs - 10 * DAY_MS)

  const { values } = await metrics.certificateExpiryWarning.get()
  expect(Object.fromEntries(values.map(({ labels, value }) => [labels.days, value]))).toEqual({
    30: 1,
    14: 1,
    7: 0,
    1: 0,
    0: 0,
  })
  expiry.watch([])
  expect((await metrics.certificateExpiryWarning.get()).values).toEqual([])
  expect((await metrics.certificateExpiry.get()).values).toEqual([])
})

test('of two with the same first name and key type, the metrics show the one that ends first', async () => {
  const soon = read(made.issue('www', { names: 'DNS:localhost', days: 3 }).certificate)
  for (const order of [
    [soon, certificate],
    [certificate, soon],
  ]) {
    expiry.watch(order)

    const [expiresAt, ...more] = (await metrics.certificateExpiry.get()).values
    expect([expiresAt?.value, more]).toEqual([soon.notAfterMs / 1000, []])
    const { values } = await metrics.certificateExpiryWarning.get()
    expect(values.filter(({ value }) => value === 1).map(({ labels }) => labels.days)).toEqual(
      [7, 14, 30].map(String),
    )
  }
})

function read(file: string): CertificateOptions {
  const { certificate, problems } = readCertificateFile(file)
  if (certificate === undefined) throw new Error(JSON.stringify(problems))
  return certificate
}
