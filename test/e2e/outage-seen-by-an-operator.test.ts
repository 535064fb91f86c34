/**
 * Both HSMs are gone at 3 a.m.: new connections are refused at once with a TLS alert, resumed and open ones go on, and
 * /status, /readyz, /metrics and a short log say who is down, why, since when, and what is being done.
 */

import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { failures, HandshakeLoad } from '../support/handshake-load.ts'
import { Faults } from '../support/p11-faults.ts'
import { type LogLine, type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { sClient } from '../support/tools.ts'

let site: Site
let load: HandshakeLoad
let upstream: TestUpstream
let faults: readonly Faults[]
let sealgate: Sealgate

beforeAll(async () => {
  site = new Site()
  load = await HandshakeLoad.compile()
  upstream = await startUpstream((_request, response) => response.end('served'))
  faults = [new Faults(site.softHsm, 'hsm-a'), new Faults(site.softHsm, 'hsm-b')]
  const [a, b] = faults
  const hsms = { 'hsm-a': { ...site.member(), ...a?.options }, 'hsm-b': { ...site.member(), ...b?.options } }
  const certificates = [site.certificate({ hsms: Object.keys(hsms) })]
  const signing = { timeout: '500ms' }
  const config = site.config([upstream.port], { hsms, certificates, signing })
  sealgate = await startSealgate({ config })
})

afterAll(async () => {
  await sealgate?.[Symbol.asyncDispose]()
  await upstream?.[Symbol.asyncDispose]()
  load?.[Symbol.dispose]()
  site?.[Symbol.dispose]()
})

test('an outage of all HSMs can be read off, costs only new connections, and ends with the first return', async () => {
  const ticket = join(site.directory, 'ticket.pem')
  await sClient(sealgate.port(), ['-CAfile', site.ca, '-sess_out', ticket])
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: readFileSync(site.ca) })
  expect(await served(agent)).toBe('served')

  for (const each of faults) each.set('* removed')
  await load.run(sealgate.port(), '--concurrency', '8', '--seconds', '1')
  await vi.waitFor(async () => expect((await status()).certificates[0]?.signing.membersReady).toBe(0), SOON)
  await vi.waitFor(async () => expect(await outageMs()).toBeGreaterThan(600), SOON)

  const { hsms, certificates } = await status()
  expect(hsms.map(({ name }) => name)).toEqual(['hsm-a', 'hsm-b'])
  for (const hsm of hsms) {
    expect(hsm.state).toMatch(/^(recovering|down|starting|resting)$/)
    expect(hsm.lastError?.message).toMatch(/^hsm "hsm-[ab]": /)
    expect(Date.parse(hsm.lastError?.at ?? '')).toBeGreaterThan(Date.now() - 60_000)
    expect(Date.parse(hsm.since)).toBeGreaterThan(Date.now() - 60_000)
    expect(hsm).toMatchObject({ inFlight: 0, restarts: expect.any(Number) })
  }
  expect(certificates).toMatchObject([
    { ready: false, state: 'waiting', signing: { membersReady: 0, members: 2, waiting: 0, queue: 1024 } },
  ])
  const ready = await sealgate.admin('/readyz')
  expect(ready?.status).toBe(503)
  expect(ready?.text).toMatch(/no HSM can sign for \S+\.pem; hsm "hsm-a": .*; hsm "hsm-b": /)

  const refused = await sClient(sealgate.port(), ['-CAfile', site.ca])
  expect(refused.stderr).toMatch(/alert internal error/)
  const resumed = await sClient(sealgate.port(), ['-CAfile', site.ca, '-sess_in', ticket])
  expect(resumed.stdout).toMatch(/^Reused, TLSv1\.3/m)
  expect(resumed.stdout).toMatch(/served/)
  expect(await served(agent)).toBe('served')
  agent.destroy()

  const flood = await load.run(sealgate.port(), '--concurrency', '50', '--seconds', '1')
  expect(flood.handshakes).toBe(0)
  expect(failures(flood)).toBeGreaterThan(300)
  const metrics = await sealgate.metrics()
  for (const hsm of ['hsm-a', 'hsm-b']) {
    expect(metrics.sum('sealgate_hsm_up', { hsm })).toBe(0)
    expect(metrics.sum('sealgate_hsm_state', { hsm })).toBe(1)
    expect(metrics.sum('sealgate_hsm_state', { hsm, state: 'up' })).toBe(0)
    expect(metrics.sum('sealgate_hsm_recoveries_total', { hsm })).toBeGreaterThan(0)
  }
  expect(metrics.sum('sealgate_key_hsms_ready')).toBe(0)
  expect(metrics.sum('sealgate_signs_waiting')).toBe(0)

  faults[1]?.clear()
  const returnedAtMs = performance.now()
  await vi.waitFor(async () => expect((await sealgate.admin('/readyz'))?.status).toBe(200), SOON)
  expect(performance.now() - returnedAtMs).toBeLessThan(1_500)
  expect((await sClient(sealgate.port(), ['-CAfile', site.ca])).stdout).toMatch(/served/)

  faults[0]?.clear()
  await vi.waitFor(
    async () => expect((await status()).hsms.map(({ state }) => state)).toEqual(['up', 'up']),
    SOON,
  )
  const failed = (await sealgate.metrics()).sum('sealgate_handshakes_total', { result: 'failed' })
  await sealgate.finish()

  // The log has not grown with the load, and leaves nobody out.
  const lines = sealgate.lines.filter(({ msg }) => /^(more )?handshakes? failed$/.test(msg ?? ''))
  expect(lines.length).toBeLessThan(100)
  expect(lines.reduce((sum, line) => sum + counted(line), 0)).toBe(failed)
  expect(lines.filter(({ level }) => level === 'warn').map(({ reason }) => reason)).toContainEqual(
    expect.stringMatching(/ERR_HSM_ALL_FAILED: no HSM signs with key pkcs11:\S+ since .* hsm "hsm-b" is /),
  )
}, 60_000)

/** What the test reads of /status. */
interface OutageStatus {
  readonly hsms: readonly {
    readonly name: string
    readonly state: string
    readonly since: string
    readonly lastError?: { readonly message: string; readonly at: string }
  }[]
  readonly certificates: readonly {
    readonly signing: { readonly membersReady: number; readonly outageSince?: string }
  }[]
}

async function status(): Promise<OutageStatus> {
  return JSON.parse((await sealgate.admin('/status'))?.text ?? '{}')
}

async function outageMs(): Promise<number> {
  const since = (await status()).certificates[0]?.signing.outageSince
  return since === undefined ? 0 : Date.now() - Date.parse(since)
}

function counted(line: LogLine): number {
  return typeof line['handshakes'] === 'number' ? line['handshakes'] : 1
}

function served(agent: Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    request(sealgate.url(), { agent }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => resolve(text))
    })
      .on('error', reject)
      .end()
  })
}

const SOON = { timeout: 10_000, interval: 20 }
