/**
 * An ECDSA and an RSA certificate for one name, their keys in two HSMs, and the one with the ECDSA key is taken away
 * while the proxy runs: clients that can do both get RSA, tickets of before are still good, and ECDSA comes back.
 */

import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { Faults } from '../support/p11-faults.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { sClient } from '../support/tools.ts'

let site: Site
let upstream: TestUpstream
let faults: Faults
let sealgate: Sealgate

beforeAll(async () => {
  site = new Site()
  faults = new Faults(site.softHsm, 'hsm-b')
  upstream = await startUpstream((_request, response) => response.end('served'))
  const config = site.config([upstream.port], {
    hsms: { 'hsm-a': site.member(), 'hsm-b': { ...site.member(), ...faults.options } },
    certificates: [
      site.certificate({ hsms: ['hsm-b'] }),
      site.certificate({ type: 'rsa:2048', hsms: ['hsm-a'] }),
    ],
    signing: { timeout: '500ms' },
  })
  sealgate = await startSealgate({ config })
})

afterAll(async () => {
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

test.each(['-tls1_2', '-tls1_3'])(
  'a lost ECDSA key leaves its name to RSA until it is back (%s)',
  async (version) => {
    const ticket = join(site.directory, `${version}.session`)
    const before = await sClient(sealgate.port(), [version, '-sess_out', ticket])
    expect(before.stdout).toMatch(/Peer signature type: ECDSA/)

    faults.set('* removed')
    // Whoever comes before the loss is noticed gets an alert: a key with one HSM has nobody else.
    await vi.waitFor(async () => expect(await signatureType(version)).toBe('RSA'), SOON)
    const resumed = await sClient(sealgate.port(), [version, '-sess_in', ticket])
    expect(resumed.stdout).toMatch(/^Reused, /m)
    expect(resumed.stdout).toMatch(/served/)
    expect((await sealgate.admin('/readyz'))?.status).toBe(503)
    expect((await sealgate.admin('/readyz?certificates=any'))?.status).toBe(200)

    faults.clear()
    await vi.waitFor(async () => expect(await signatureType(version)).toBe('ECDSA'), SOON)
    expect((await sealgate.admin('/readyz'))?.status).toBe(200)
  },
)

/** `RSA` for both paddings; undefined when there was an alert. */
async function signatureType(version: string): Promise<string | undefined> {
  const { stdout } = await sClient(sealgate.port(), [version], '')
  return /Peer signature type: ([A-Z]+)/.exec(stdout)?.[1]
}

const SOON = { timeout: 15_000, interval: 50 }
