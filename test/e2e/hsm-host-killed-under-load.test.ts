/**
 * Two HSM members, full handshakes as fast as they go, and the host process of one is killed, then that of the
 * other: the signatures it held are made by the member that is left, the proxy stays ready, the host comes back.
 */

import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { failures, HandshakeLoad, type LoadResult } from '../support/handshake-load.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'

let site: Site
let load: HandshakeLoad
let upstream: TestUpstream
let sealgate: Sealgate

beforeAll(async () => {
  site = new Site()
  load = await HandshakeLoad.compile()
  upstream = await startUpstream((_request, response) => response.end('served'))
  const hsms = { 'hsm-a': site.member(), 'hsm-b': site.member() }
  const certificates = [site.certificate({ hsms: Object.keys(hsms) })]
  sealgate = await startSealgate({ config: site.config([upstream.port], { hsms, certificates }) })
})

afterAll(async () => {
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  load?.[Symbol.dispose]()
  site?.[Symbol.dispose]()
})

test('no handshake fails when the hosts of two members are killed one after the other', async () => {
  const notReady: string[] = []
  let loading = true
  const running = loadWhile(() => loading)
  const readiness = watchReadiness(() => loading, notReady)

  await killUnderLoad('hsm-a')
  await killUnderLoad('hsm-b')
  loading = false
  const results = await running
  await readiness

  for (const result of results) {
    expect(result.firstError).toBe('')
    expect(failures(result)).toBe(0)
    expect(result.handshakes).toBeGreaterThan(0)
  }
  expect(notReady).toEqual([])
  const metrics = await sealgate.metrics()
  expect(metrics.sum('sealgate_handshakes_total', { result: 'failed' })).toBe(0)
  for (const hsm of ['hsm-a', 'hsm-b'])
    expect(metrics.sum('sealgate_hsm_host_restarts_total', { hsm })).toBe(1)
}, 60_000)

/** Kills the host while it signs, and waits until another one signs in its place. */
async function killUnderLoad(hsm: string): Promise<void> {
  const before = await signatures(hsm)
  await vi.waitFor(async () => expect(await signatures(hsm)).toBeGreaterThan(before + 50), WAIT)
  const pid = await hostOf(hsm)
  process.kill(pid, 'SIGKILL')

  await vi.waitFor(async () => expect(await hostOf(hsm)).not.toBe(pid), WAIT)
  const respawned = await signatures(hsm)
  await vi.waitFor(async () => expect(await signatures(hsm)).toBeGreaterThan(respawned + 50), WAIT)
}

async function signatures(hsm: string): Promise<number> {
  return (await sealgate.metrics()).sum('sealgate_signatures_total', { hsm, result: 'ok' })
}

async function hostOf(hsm: string): Promise<number> {
  const { hsms } = await sealgate.status()
  const pid = hsms.find(({ name }) => name === hsm)?.pid
  if (pid === undefined) throw new Error(`${hsm} has no host process now`)
  return pid
}

async function loadWhile(wanted: () => boolean): Promise<LoadResult[]> {
  const results: LoadResult[] = []
  while (wanted()) results.push(await load.run(sealgate.port(), '--concurrency', '50', '--seconds', '1'))
  return results
}

async function watchReadiness(wanted: () => boolean, notReady: string[]): Promise<void> {
  while (wanted()) {
    const answer = await sealgate.admin('/readyz')
    if (answer?.status !== 200) notReady.push(answer?.text ?? 'no answer')
    await new Promise((resolve) => setTimeout(resolve, WAIT.interval))
  }
}

const WAIT = { timeout: 15_000, interval: 25 }
