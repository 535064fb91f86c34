/**
 * OCSP stapling as clients and operators see it: `openssl ocsp` is the responder, keys are in an HSM, openssl and curl
 * ask for the status of RSA and ECDSA certificates in both versions of TLS.
 */

import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { freePort } from '../support/free-port.ts'
import { type Issued, OcspCa, type OpensslResponder } from '../support/ocsp-ca.ts'
import { type Sealgate, sealgateCommand, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl, runTool, sClient } from '../support/tools.ts'

let site: Site
let ca: OcspCa
let upstream: TestUpstream
let responder: OpensslResponder
let sealgate: Sealgate
let config: object
let revoked: Issued

beforeAll(async () => {
  site = new Site()
  ca = new OcspCa(site.directory)
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const issue = (label: string, id: string, type: 'EC:prime256v1' | 'rsa:2048', names: readonly string[]) => {
    const spki = site.token.generateKey({ label, id, type })
    const issued = ca.issue({ spki, names, responder: url })
    const entry = {
      chain: issued.chain,
      key: { uri: `pkcs11:object=${label};type=private`, hsms: ['hsm-a'] },
    }
    return { issued, entry }
  }
  const ec = issue('ec', 'a1', 'EC:prime256v1', ['localhost'])
  const rsa = issue('rsa', 'a2', 'rsa:2048', ['localhost'])
  const bad = issue('bad', 'a3', 'EC:prime256v1', ['revoked.test'])
  revoked = bad.issued
  ca.revoke(revoked)
  responder = await ca.startResponder(port)
  upstream = await startUpstream((_request, response) => response.end('served'))
  const certificates = [ec.entry, rsa.entry, bad.entry]
  config = site.config([upstream.port], { certificates })
  sealgate = await startSealgate({ config })
  await vi.waitFor(async () => {
    expect((await sealgate.metrics()).sum('sealgate_ocsp_stapled')).toBe(2)
    expect((await sealgate.metrics()).sum('sealgate_ocsp_refreshes_total')).toBeGreaterThanOrEqual(3)
  }, PATIENCE)
})

afterAll(async () => {
  await sealgate?.finish()
  await responder?.[Symbol.asyncDispose]()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

for (const version of ['-tls1_2', '-tls1_3']) {
  for (const [kind, sigalgs] of [
    ['ECDSA', 'ecdsa_secp256r1_sha256'],
    ['RSA-PSS', 'rsa_pss_rsae_sha256'],
  ]) {
    test(`openssl ${version} gets the response of the ${kind} certificate`, async () => {
      const { stdout, status } = await ask(version, '-status', '-sigalgs', sigalgs ?? '')

      expect(status).toBe(0)
      expect(stdout).toContain('OCSP Response Status: successful (0x0)')
      expect(stdout).toContain('Cert Status: good')
      expect(stdout).toContain(`Peer signature type: ${kind}\n`)
      expect(stdout).toContain('Verification: OK')
    })
  }

  test(`openssl ${version} that does not ask gets none`, async () => {
    const { stdout, status } = await ask(version)

    expect(status).toBe(0)
    expect(stdout).not.toContain('OCSP')
  })

  test(`openssl ${version} gets none for a revoked certificate`, async () => {
    const { stdout } = await ask(version, '-status', '-servername', 'revoked.test')

    expect(stdout).toContain('OCSP response: no response sent')
  })
}

test('curl --cert-status is content', async () => {
  const { stdout, stderr } = await curl('--cacert', ca.certificate, '--cert-status', sealgate.url())

  expect({ stdout, stderr }).toEqual({ stdout: 'served', stderr: '' })
})

test('curl --cert-status is not, where there is no response', async () => {
  const to = ['--resolve', `revoked.test:${sealgate.port()}:127.0.0.1`]
  const { status } = await curl(
    '--cacert',
    ca.certificate,
    '--cert-status',
    ...to,
    `https://revoked.test:${sealgate.port()}/`,
  )

  expect(status).toBe(91) // CURLE_SSL_INVALIDCERTSTATUS
})

test('a resumed session needs no response', async () => {
  const session = `${site.directory}/session.pem`
  await ask('-tls1_2', '-status', '-sess_out', session)

  const { stdout } = await ask('-tls1_2', '-status', '-sess_in', session)

  expect(stdout).toContain('Reused, TLSv1.2')
})

test('clients that leave in the middle leave nothing behind', async () => {
  for (let i = 0; i < 20; i += 1) {
    const socket = connect(sealgate.port(), '127.0.0.1')
    await once(socket, 'connect')
    socket.write(Buffer.from('160301', 'hex'))
    socket.resetAndDestroy()
  }
  const impatient = Array.from({ length: 10 }, () => {
    const args = ['-connect', `127.0.0.1:${sealgate.port()}`, '-status', '-servername', 'localhost']
    return runTool('openssl', ['s_client', ...args], { input: '', timeoutMs: 30 })
  })
  await Promise.all(impatient)

  await sealgate.untilAtRest()
})

test('the revoked certificate is an error in the log, in the metrics and in the status', async () => {
  const line = await sealgate.logged('certificate is revoked')

  expect(line).toMatchObject({ level: 'error', reason: expect.stringMatching(/REVOKED.*keyCompromise/) })
  const metrics = await sealgate.metrics()
  const labels = { name: 'revoked.test', key_type: 'ec' }
  expect(metrics.sum('sealgate_ocsp_refreshes_total', { ...labels, result: 'revoked' })).toBeGreaterThan(0)
  expect(metrics.sum('sealgate_ocsp_stapled', labels)).toBe(0)
  const inForce = metrics.sum('sealgate_ocsp_next_update_timestamp_seconds', { key_type: 'rsa' })
  expect(inForce).toBeGreaterThan(Date.now() / 1000 + 1_800)
  const status = await sealgate.status()
  expect(status).toMatchObject({
    stapling: [
      { names: ['localhost'], stapled: true, nextUpdate: expect.any(String), mustStaple: false },
      { names: ['localhost'], stapled: true },
      { names: ['revoked.test'], stapled: false, lastRefresh: { outcome: 'revoked' } },
    ],
  })
})

test('check tells the status of each certificate', async () => {
  const file = `${site.directory}/check.yaml`
  writeFileSync(file, JSON.stringify(config))

  const { stdout, status } = await sealgateCommand(['check', '--config', file])

  expect(status).toBe(69)
  expect(stdout.match(/^ok +\S+ +OCSP good until \d{4}-.*Z, from http:/gm)).toHaveLength(2)
  expect(stdout).toMatch(/^error +\S+ +OCSP, from http.*REVOKED on 2025-01-01T00:00:00Z \(keyCompromise\)/m)
})

function ask(...args: readonly string[]) {
  const name = args.includes('-servername') ? [] : ['-servername', 'localhost']
  return sClient(sealgate.port(), ['-CAfile', ca.certificate, ...name, ...args])
}

const PATIENCE = { timeout: 15_000, interval: 50 }
