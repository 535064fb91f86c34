/**
 * What security teams point at a server first: testssl.sh and sslscan, against both named policies with an RSA and an ECDSA
 * certificate. Nothing above LOW, except what is said of the test's own CA.
 */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { runTool } from '../support/tools.ts'

/** About the test CA, which nobody trusts and which publishes nothing; by testssl's ids, with the reason. */
const OF_THE_TEST_CA: Readonly<Record<string, string>> = {
  cert_chain_of_trust: 'no browser has it',
  cert_trust: 'the certificate of a test has a wildcard beside its name',
  cert_revocation: 'it runs no OCSP responder and publishes no list',
  cert_crlDistributionPoints: 'it publishes no list',
  cert_ocspURL: 'it runs no OCSP responder',
}

/** Checks that testssl.sh does not always get to the end of; test/e2e/resumption.test.ts has a client that waits. */
const UNRELIABLE: Readonly<Record<string, string>> = {
  engine_problem: 'the openssl that it scans with has no GOST, which is not ours to offer',
  sessionresumption_ticket: 's_client leaves before the ticket of TLS 1.3 has come, then has none to show',
}

const MINUTES_MS = 60_000

let site: Site
let upstream: TestUpstream
let sealgate: Sealgate
let directory: string

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sealgate-scan-'))
  site = new Site()
  upstream = await startUpstream((_request, response) => response.end('served'))
  const common = { address: '127.0.0.1:0', protocol: 'http', upstream: 'app' }
  const listeners = [
    { ...common, name: 'default' },
    { ...common, name: 'modern', tls: { policy: 'modern' } },
  ]
  // Longer than testssl.sh wants to see left.
  const certificates = [site.certificate({ days: 120 }), site.certificate({ days: 120, type: 'rsa:2048' })]
  sealgate = await startSealgate({ config: site.config([upstream.port], { listeners, certificates }) })
})

afterAll(async () => {
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
  rmSync(directory, { recursive: true, force: true })
})

test(
  'testssl.sh finds nothing above LOW under the default policy, old attacks included',
  async () => {
    const checks = ['--protocols', '--server-defaults', '--pfs', '--vulnerable']
    const findings = await testssl('default', checks)

    expect(serious(findings)).toEqual([])
    expect(of(findings, 'TLS1_2')).toMatchObject({ severity: 'OK' })
    expect(of(findings, 'TLS1_3')).toMatchObject({ severity: 'OK' })
    expect(of(findings, 'secure_client_renego')).toMatchObject({ severity: 'OK' })
    expect(of(findings, 'heartbleed')).toMatchObject({ severity: 'OK' })
    expect(of(findings, 'cert_keySize <cert#1>').finding).toMatch(/RSA|EC/)
    expect(of(findings, 'cert_keySize <cert#2>').finding).toMatch(/RSA|EC/)
  },
  3 * MINUTES_MS,
)

test(
  'under the modern policy there is TLS 1.3 and nothing else',
  async () => {
    const findings = await testssl('modern', ['--protocols', '--server-defaults', '--pfs'])

    expect(serious(findings)).toEqual([])
    for (const version of ['SSLv2', 'SSLv3', 'TLS1', 'TLS1_1', 'TLS1_2'])
      expect(of(findings, version).finding, version).toMatch(/^not offered/)
    expect(of(findings, 'TLS1_3').finding).toMatch(/^offered/)
  },
  2 * MINUTES_MS,
)

test('sslscan sees no old version, no weak suite, no compression and no renegotiation', async () => {
  const { stdout } = await sslscan('default')

  const enabled = [...stdout.matchAll(/<protocol type="(\w+)" version="([\d.]+)" enabled="1"/g)]
  expect(enabled.map(([, type, version]) => `${type} ${version}`)).toEqual(['tls 1.2', 'tls 1.3'])
  const ciphers = [
    ...stdout.matchAll(/<cipher [^>]*sslversion="([^"]+)" bits="(\d+)" cipher="([^"]+)"[^>]*>/g),
  ]
  expect(ciphers.length).toBeGreaterThan(6)
  for (const [, , bits, cipher] of ciphers) {
    expect(Number(bits), cipher).toBeGreaterThanOrEqual(128)
    expect(cipher).toMatch(/^(TLS_(AES|CHACHA20)|ECDHE-(RSA|ECDSA)-(AES(128|256)-GCM|CHACHA20))/)
  }
  expect(stdout).not.toContain('<compression supported="1"')
  expect(stdout).toContain('<renegotiation supported="0"')
  expect(stdout).not.toMatch(/<heartbleed [^>]*vulnerable="1"/)
})

interface Finding {
  readonly id: string
  readonly severity: string
  readonly finding: string
}

async function testssl(listener: string, checks: readonly string[]): Promise<readonly Finding[]> {
  const file = join(directory, `${listener}.json`)
  const quiet = ['--quiet', '--color', '0', '--warnings', 'off', '--nodns', 'none']
  const target = `https://localhost:${sealgate.port(listener)}`
  const args = [...quiet, '--jsonfile', file, '--add-ca', site.ca, '--ip', '127.0.0.1', ...checks, target]
  const { stdout } = await runTool('testssl', args, { timeoutMs: 3 * MINUTES_MS })
  const findings: readonly Finding[] = JSON.parse(readFileSync(file, 'utf8'))
  expect(
    findings.filter(({ severity }) => severity === 'FATAL'),
    stdout,
  ).toEqual([])
  return findings
}

function sslscan(listener: string) {
  const target = `localhost:${sealgate.port(listener)}`
  return runTool('sslscan', ['--no-colour', '--ipv4', '--xml=-', target], { timeoutMs: MINUTES_MS })
}

/** Also WARN: testssl.sh could not look. */
function serious(findings: readonly Finding[]): readonly Finding[] {
  const fine = ['OK', 'INFO', 'LOW', 'DEBUG']
  return findings.filter(({ id, severity }) => {
    const [name = ''] = id.split(' ')
    if (severity === 'WARN' && UNRELIABLE[name] !== undefined) return false
    return !fine.includes(severity) && OF_THE_TEST_CA[name] === undefined
  })
}

/** @throws when testssl did not look. */
function of(findings: readonly Finding[], id: string): Finding {
  const found = findings.find((finding) => finding.id === id)
  if (found === undefined)
    throw new Error(`testssl says nothing about ${id}: ${findings.map((each) => each.id)}`)
  return found
}
