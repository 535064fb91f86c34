/** Limits protect a slow HSM: full handshakes past them fail or wait, resumed ones and open connections do not notice. */

import { afterEach, expect, test, vi } from 'vitest'
import { startUpstream } from '../integration/proxy/support/upstreams.ts'
import { PATIENCE } from '../support/patience.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl, sClient } from '../support/tools.ts'

const cleanUp: (() => Promise<unknown> | unknown)[] = []
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
})

test('one client gets its burst of full handshakes, is refused the next, and may resume all the while', async () => {
  const sealgate = await start({ limits: { full_handshakes_per_address: { per_second: 0.01, burst: 3 } } })
  const port = sealgate.port('web')
  const session = `${cleanUpSite().directory}/session.pem`
  expect(await handshake(port, '-sess_out', session)).toBe(true)
  expect(await handshake(port)).toBe(true)
  expect(await handshake(port)).toBe(true)

  expect(await handshake(port)).toBe(false)

  expect(await handshake(port, '-sess_in', session)).toBe(true)
  await vi.waitFor(
    () =>
      expect(sealgate.lines.map(({ reason }) => reason)).toContain(
        'past the limit of full handshakes (address)',
      ),
    PATIENCE,
  )
  const metrics = await sealgate.metrics()
  expect(metrics.sum('sealgate_handshakes_limited_total', { limit: 'address', outcome: 'refused' })).toBe(1)
})

test('told to wait, all are served, one after the other', async () => {
  const limits = { full_handshakes: { per_second: 10, burst: 1 }, exceeded: 'wait' }
  const sealgate = await start({ limits })

  const all = await Promise.all(Array.from({ length: 5 }, () => handshake(sealgate.port('web'))))

  expect(all).toEqual([true, true, true, true, true])
  const metrics = await sealgate.metrics()
  expect(
    metrics.sum('sealgate_handshakes_limited_total', { limit: 'total', outcome: 'waited' }),
  ).toBeGreaterThan(0)
})

test('past max_connections a client is closed unanswered, and the metric counts it', async () => {
  const sealgate = await start({}, { max_connections: 1 })
  const url = `https://localhost:${sealgate.port('web')}/`
  // The upstream answers the first one only when it is told to.
  const first = curl('--insecure', `${url}slow`)
  await vi.waitFor(async () => {
    const metrics = await sealgate.metrics()
    expect(metrics.sum('sealgate_connections_open', { listener: 'web', state: 'active' })).toBe(1)
  }, PATIENCE)

  const second = await curl('--insecure', url)

  expect(second.status).not.toBe(0)
  const metrics = await sealgate.metrics()
  expect(metrics.sum('sealgate_connections_refused_total', { listener: 'web' })).toBe(1)
  release?.()
  expect((await first).status).toBe(0)
})

test('one client cannot take the connections of all', async () => {
  const sealgate = await start({}, { max_connections_per_address: 1 })
  const port = sealgate.port('web')
  const url = `https://localhost:${port}/`
  const first = curl('--insecure', `${url}slow`)
  await vi.waitFor(() => expect(release).toBeDefined(), PATIENCE)

  const second = await curl('--insecure', url)
  const other = await curl('--insecure', '--interface', '127.0.0.2', `https://127.0.0.1:${port}/`)

  expect(second.status).not.toBe(0)
  expect(other.status).toBe(0)
  const metrics = await sealgate.metrics()
  const labels = { listener: 'web', limit: 'address' }
  expect(metrics.sum('sealgate_connections_refused_total', labels)).toBe(1)
  release?.()
  expect((await first).status).toBe(0)
})

test('while the HSM is behind, who needs it is refused and counted, and a returning client is served', async () => {
  const limits = { full_handshakes: { per_second: 0.2, burst: 1 }, exceeded: 'wait' }
  const sealgate = await start({ limits, signing: { timeout: '15s' } }, { max_handshakes: 1 })
  const port = sealgate.port('web')
  const session = `${cleanUpSite().directory}/session.pem`
  expect(await handshake(port, '-sess_out', session)).toBe(true)
  const waiting = handshake(port)
  await vi.waitFor(
    async () => expect((await sealgate.metrics()).sum('sealgate_handshakes_signing')).toBe(1),
    PATIENCE,
  )

  expect(await handshake(port)).toBe(false)
  expect(await handshake(port, '-sess_in', session)).toBe(true)

  const metrics = await sealgate.metrics()
  expect(metrics.sum('sealgate_connections_refused_total', { limit: 'handshakes' })).toBe(1)
  expect(metrics.sum('sealgate_handshake_failures_total', { reason: 'limit' })).toBe(1)
  expect(metrics.sum('sealgate_handshakes_total', { result: 'ok', resumed: 'true' })).toBe(1)
  expect(await waiting).toBe(true)
})

let release: (() => void) | undefined
let site: Site | undefined

async function start(overrides: object, listener: object = {}): Promise<Sealgate> {
  release = undefined
  const upstream = await startUpstream((request, response) => {
    if (request.url === '/slow') release = () => response.end()
    else response.end()
  })
  cleanUp.push(() => upstream[Symbol.asyncDispose]())
  site = new Site()
  cleanUp.push(() => site?.[Symbol.dispose]())
  const listeners = [{ name: 'web', address: '127.0.0.1:0', protocol: 'http', upstream: 'app', ...listener }]
  const sealgate = await startSealgate({ config: site.config([upstream.port], { listeners, ...overrides }) })
  cleanUp.push(() => sealgate.finish())
  return sealgate
}

function cleanUpSite(): Site {
  if (site === undefined) throw new Error('nothing has started')
  return site
}

async function handshake(port: number, ...args: readonly string[]): Promise<boolean> {
  const { stdout } = await sClient(port, ['-tls1_2', ...args], '')
  return /New, TLSv1\.2|Reused, TLSv1\.2/.test(stdout)
}
