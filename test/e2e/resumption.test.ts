/**
 * A client that comes back with its ticket is served without a signature, whichever TLS thread it meets. The system
 * spreads connections over the threads by the client's port, so that some of many attempts meet the other one.
 */

import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { PATIENCE } from '../support/patience.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { sClient } from '../support/tools.ts'

const ATTEMPTS = 12

let site: Site
let upstream: TestUpstream
let sealgate: Sealgate

beforeAll(async () => {
  site = new Site()
  upstream = await startUpstream((_request, response) => response.end('served'))
  const config = site.config([upstream.port], { threads: { tls: 2, http: 1 } })
  sealgate = await startSealgate({ config })
})

afterAll(async () => {
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

test.each([
  ['-tls1_2', 'TLSv1.2'],
  ['-tls1_3', 'TLSv1.3'],
])('a ticket resumes on every thread and needs no signature (%s)', async (option, version) => {
  const session = join(site.directory, `${version}.session`)
  const first = await connect(option, '-sess_out', session)
  expect(first.stdout).toMatch(/^New, TLSv1/m)
  const before = await counts(version)

  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const { stdout } = await connect(option, '-sess_in', session)
    expect(stdout).toMatch(/^Reused, TLSv1/m)
    expect(stdout).toContain('served')
  }

  const after = await counts(version)
  expect(after.resumed - before.resumed).toBe(ATTEMPTS)
  expect(after.full).toBe(before.full)
  expect(after.signatures).toBe(before.signatures)
})

test('the access log says which requests came over a resumed connection', async () => {
  const session = join(site.directory, 'logged.session')
  await sealgate.untilAtRest()
  const before = sealgate.requests().length
  await connect('-tls1_3', '-sess_out', session)
  await connect('-tls1_3', '-sess_in', session)

  // The access log is written a little late, in one go.
  await vi.waitFor(() => expect(sealgate.requests().length).toBeGreaterThanOrEqual(before + 2), PATIENCE)
  expect(
    sealgate
      .requests()
      .slice(-2)
      .map(({ resumed }) => resumed),
  ).toEqual([false, true])
})

test('a ticket of another proxy is not taken: a full handshake follows', async () => {
  const session = join(site.directory, 'foreign.session')
  await using other = await startSealgate({ config: site.config([upstream.port]) })
  await connectTo(other, '-tls1_3', '-sess_out', session)

  const { stdout } = await connect('-tls1_3', '-sess_in', session)

  expect(stdout).toMatch(/^New, TLSv1.3/m)
  expect(stdout).toContain('served')
})

async function counts(tlsVersion: string) {
  const metrics = await sealgate.metrics()
  const handshakes = (resumed: string) =>
    metrics.sum('sealgate_handshakes_total', { result: 'ok', tls_version: tlsVersion, resumed })
  const signatures = metrics.sum('sealgate_signatures_total')
  return { full: handshakes('false'), resumed: handshakes('true'), signatures }
}

function connect(...args: readonly string[]) {
  return connectTo(sealgate, ...args)
}

function connectTo(server: Sealgate, ...args: readonly string[]) {
  return sClient(server.port(), ['-CAfile', site.ca, '-servername', 'localhost', ...args])
}
