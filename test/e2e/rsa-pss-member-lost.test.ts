/**
 * Two HSMs hold the same RSA key, and only one of them has RSA-PSS, which TLS 1.3 needs. The operator is told which one, at the start and by
 * `check`; and when that one has a hiccup, TLS 1.3 waits for it as it would for the last HSM of a key.
 */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { Faults } from '../support/p11-faults.ts'
import { PATIENCE } from '../support/patience.ts'
import { type Sealgate, sealgateCommand, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { sClient } from '../support/tools.ts'

let site: Site
let upstream: TestUpstream
let sealgate: Sealgate
let faults: Faults
let config: object

beforeAll(async () => {
  site = new Site()
  upstream = await startUpstream((_request, response) => response.end('served'))
  faults = new Faults(site.softHsm, 'able')
  const conf = join(site.directory, 'pkcs1.conf')
  writeFileSync(conf, `${readFileSync(site.softHsm.conf, 'utf8')}slots.mechanisms = CKM_RSA_PKCS\n`)
  config = site.config([upstream.port], {
    hsms: {
      pkcs1: { ...site.member(), env: { SOFTHSM2_CONF: conf } },
      able: { ...site.member(), ...faults.options },
    },
    certificates: [site.certificate({ type: 'rsa:2048', hsms: ['pkcs1', 'able'] })],
    signing: { timeout: '3s' },
  })
  sealgate = await startSealgate({ config })
})

afterAll(async () => {
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

const NAMED = /hsm "pkcs1": does no rsa_pss_rsae_sha256 rsa_pss_rsae_sha384 rsa_pss_rsae_sha512 with pkcs11:/

test('the HSM that lacks it is named at the start and by check, which is a warning', async () => {
  await vi.waitFor(() => {
    const warned = sealgate.lines.filter(({ level, msg }) => level === 'warn' && NAMED.test(msg ?? ''))
    expect(warned.length).toBe(1)
  }, PATIENCE)

  const file = join(site.directory, 'check.yaml')
  writeFileSync(file, JSON.stringify(config))
  const { status, stdout } = await sealgateCommand(['check', '--config', file])
  expect(stdout).toMatch(NAMED)
  expect(status).toBe(0)
})

test('TLS 1.3 with the RSA key waits while the one HSM that can do it starts again', async () => {
  for (let round = 0; round < 5; round++) {
    await vi.waitFor(async () => expect((await able())?.state).toBe('up'), PATIENCE)
    const pid = (await able())?.pid ?? 0
    process.kill(pid, 'SIGKILL')
    await vi.waitFor(async () => expect((await able())?.pid).not.toBe(pid), { ...PATIENCE, interval: 2 })

    const { stdout, stderr } = await ask('-tls1_3')

    expect(stderr).not.toMatch(/alert/)
    expect(stdout).toContain('Peer signature type: RSA-PSS')
  }
})

test('when it stays away TLS 1.3 ends after the time that a handshake may wait, and TLS 1.2 goes on', async () => {
  faults.set('* removed')
  const pid = (await able())?.pid ?? 0
  process.kill(pid, 'SIGKILL')

  await vi.waitFor(async () => expect((await ask('-tls1_3')).stderr).toMatch(/alert protocol version/), {
    timeout: 15_000,
  })
  const { stdout } = await ask()
  expect(stdout).toContain('Cipher is ECDHE-RSA-AES128-GCM-SHA256')
  expect(stdout).toContain('served')
  faults.clear()
  await vi.waitFor(async () => expect((await ask('-tls1_3')).stdout).toContain('served'), PATIENCE)
})

async function able() {
  return (await sealgate.status()).hsms.find(({ name }) => name === 'able')
}

function ask(...options: readonly string[]) {
  return sClient(sealgate.port(), ['-CAfile', site.ca, ...options])
}
