/**
 * Stapling when something is wrong, as clients see it: a responder that is away, hangs, or lies; a response that ends;
 * a certificate that must not be without one. The proxy serves all the while.
 */

import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { freePort } from '../support/free-port.ts'
import { errorAnswer } from '../support/ocsp-answer.ts'
import { type Issued, type IssueOptions, OcspCa } from '../support/ocsp-ca.ts'
import { OcspServer } from '../support/ocsp-server.ts'
import { Sealgate, sealgateCommand, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl, sClient } from '../support/tools.ts'

let site: Site
let ca: OcspCa
let upstream: TestUpstream
let server: OcspServer
let spki: Buffer
let folders = 0
/** A fresh one for each test. */
let folder: string

beforeAll(async () => {
  site = new Site()
  ca = new OcspCa(site.directory)
  spki = site.token.generateKey({ label: 'web', id: 'b1', type: 'EC:prime256v1' })
  upstream = await startUpstream((_request, response) => response.end('served'))
})

afterAll(async () => {
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

beforeEach(async () => {
  server = await OcspServer.start()
  folders += 1
  folder = join(site.directory, `run-${folders}`)
  mkdirSync(folder)
})

afterEach(async () => {
  await server[Symbol.asyncDispose]()
})

test('a responder that is away at the start is asked until it is back', async () => {
  const port = await freePort()
  const leaf = issue({ responder: `http://127.0.0.1:${port}`, mustStaple: true })
  await using sealgate = await startSealgate({ config: config(leaf, { start_wait: '300ms' }) })

  expect(await status(sealgate)).toBe('none')
  expect((await curl('--cacert', ca.certificate, sealgate.url())).stdout).toBe('served')
  const warned = sealgate.lines.find(({ msg }) => msg?.startsWith('must-staple certificate without'))
  expect(warned).toMatchObject({ level: 'error', certificate: leaf.chain })
  const labels = { name: 'localhost', key_type: 'ec' }
  const before = await sealgate.metrics()
  expect(before.sum('sealgate_ocsp_required', labels) - before.sum('sealgate_ocsp_stapled', labels)).toBe(1)
  const refusals = before.sum('sealgate_ocsp_refreshes_total', { result: 'connection' })
  expect(refusals).toBeGreaterThan(0)

  await using _responder = await ca.startResponder(port)

  await vi.waitFor(async () => expect(await status(sealgate)).toBe('good'), PATIENCE)
  await sealgate.finish()
})

test('a reload waits for the response of a certificate that is new, not of one that is shown without', async () => {
  const leaf = issue({ responder: server.url, mustStaple: true })
  server.behave(() => {})
  await using sealgate = await startSealgate({ config: config(leaf, { start_wait: '300ms' }) })
  const toldAtStart = withoutResponse(sealgate)

  // It would wait for a minute.
  expect(await sealgate.reload(config(leaf, { start_wait: '60s' }))).toMatchObject({ msg: 'reloaded' })
  expect(withoutResponse(sealgate)).toBe(toldAtStart)

  const next = issue({ responder: server.url, mustStaple: true })
  expect(await sealgate.reload(config(next, { start_wait: '300ms' }))).toMatchObject({ msg: 'reloaded' })
  expect(withoutResponse(sealgate)).toBe(toldAtStart + 1)
  await sealgate.finish()
})

test('listeners of a must-staple certificate open with the first response', async () => {
  const leaf = issue({ responder: server.url, mustStaple: true })
  server.behave((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/ocsp-response' })
    setTimeout(() => response.end(ca.answer(leaf)), 3_000)
  })
  await using sealgate = await startSealgate({ config: config(leaf, { start_wait: '30s' }) })

  expect(await status(sealgate)).toBe('good') // the very first client
  expect(sealgate.lines.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([])
  await sealgate.finish()
})

test('a responder that hangs delays neither the start nor a handshake, nor the end', async () => {
  server.behave(() => {})
  await using sealgate = await startSealgate({ config: config(issue({ responder: server.url })) })

  expect(await status(sealgate)).toBe('none')
  await vi.waitFor(() => expect(server.asked.length).toBeGreaterThan(0), PATIENCE)
  const stopped = performance.now()
  expect(await sealgate.stop()).toEqual({ status: 0, signal: null })
  expect(performance.now() - stopped).toBeLessThan(5_000)
})

test('a process that waits for the first response can be stopped', async () => {
  server.behave(() => {})
  const leaf = issue({ responder: server.url, mustStaple: true })
  await using sealgate = new Sealgate({ config: config(leaf, { start_wait: '2m', timeout: '1m' }) })
  await sealgate.logged('hsm is up', 15_000)
  await vi.waitFor(() => expect(server.asked.length).toBeGreaterThan(0), PATIENCE)

  expect(await sealgate.stop()).toEqual({ status: 0, signal: null })
})

test('with `missing: refuse`, who asks gets an alert until there is a response', async () => {
  const leaf = issue({ responder: server.url })
  server.answer(errorAnswer(3)) // tryLater
  const refuse = config(leaf, { start_wait: '200ms', missing: 'refuse' })
  await using sealgate = await startSealgate({ config: refuse })

  for (const version of ['-tls1_2', '-tls1_3'])
    expect((await ask(sealgate, '-status', version)).stderr).toContain('alert internal error')
  expect((await ask(sealgate)).status).toBe(0)
  await vi.waitFor(() => {
    const failed = sealgate.lines.find(({ msg }) => msg === 'handshake failed')
    expect(failed).toMatchObject({ reason: 'no OCSP response to staple' })
  }, PATIENCE)
  expect(await sealgate.admin('/readyz')).toMatchObject({
    status: 503,
    text: expect.stringContaining('OCSP'),
  })
  server.answer(ca.answer(leaf))

  await vi.waitFor(async () => expect(await status(sealgate)).toBe('good'), PATIENCE)
  expect(await sealgate.admin('/readyz')).toMatchObject({ status: 200 })
  await sealgate.finish()
})

test('a response is kept across a restart, and verified anew', async () => {
  const leaf = issue({ responder: server.url })
  server.answer(ca.answer(leaf))
  const kept = config(leaf, { cache: join(folder, 'cache') })
  {
    await using first = await startSealgate({ config: kept })
    await vi.waitFor(async () => expect(await status(first)).toBe('good'), PATIENCE)
    await first.stop()
  }
  server.behave((_request, response) => response.destroy())

  await using second = await startSealgate({ config: kept })

  expect(await status(second)).toBe('good')
  expect(server.asked).toHaveLength(1)
  await second.finish()
})

test('a response ends while the responder is gone, and stapling with it', async () => {
  const leaf = issue({ responder: server.url })
  server.answer(() => ca.answer(leaf, { thisUpdateS: 0, nextUpdateS: 8 }))
  await using sealgate = await startSealgate({ config: config(leaf) })
  await vi.waitFor(async () => expect(await status(sealgate)).toBe('good'), PATIENCE)
  server.behave((_request, response) => response.destroy())

  await vi.waitFor(async () => expect(await status(sealgate)).toBe('none'), PATIENCE)

  await sealgate.logged('OCSP response has expired: nothing is stapled')
  expect((await curl('--cacert', ca.certificate, sealgate.url())).stdout).toBe('served')
  await sealgate.finish()
})

test('a revocation ends stapling on open listeners', async () => {
  const leaf = issue({ responder: server.url })
  server.answer(() => ca.answer(leaf, { thisUpdateS: -4, nextUpdateS: 8 }))
  await using sealgate = await startSealgate({ config: config(leaf) })
  await vi.waitFor(async () => expect(await status(sealgate)).toBe('good'), PATIENCE)
  server.answer(() => ca.answer(leaf, { status: 'revoked', thisUpdateS: 0, nextUpdateS: 3_600 }))

  await sealgate.logged('certificate is revoked', 15_000)

  expect(await status(sealgate)).toBe('none')
  await sealgate.finish()
})

test('a file is stapled, also after it was replaced; a bad one is not', async () => {
  const leaf = issue()
  const file = join(folder, 'web.ocsp')
  writeFileSync(file, ca.answer(leaf, { thisUpdateS: -7_200, nextUpdateS: 3_600 }))
  await using sealgate = await startSealgate({ config: config(leaf, {}, { file }) })
  await vi.waitFor(async () => expect(await status(sealgate)).toBe('good'), PATIENCE)
  const first = await nextUpdate(sealgate)

  writeFileSync(`${file}.new`, ca.answer(leaf, { thisUpdateS: -60, nextUpdateS: 7_200 }))
  renameSync(`${file}.new`, file)
  await vi.waitFor(async () => expect(await nextUpdate(sealgate)).not.toBe(first), PATIENCE)
  const second = await nextUpdate(sealgate)
  writeFileSync(file, ca.answer(ca.issue()))
  await vi.waitFor(() => {
    const line = sealgate.lines.find(({ msg }) => msg === 'no OCSP response')
    expect(line).toMatchObject({ outcome: 'other-certificate' })
  }, PATIENCE)

  expect(await nextUpdate(sealgate)).toBe(second)
  await sealgate.finish()
})

test('the issuer may come from a file of its own', async () => {
  const leaf = issue({ responder: server.url })
  server.answer(ca.answer(leaf))
  const alone = config({ ...leaf, chain: leaf.leaf }, {}, { issuer: ca.certificate })
  await using sealgate = await startSealgate({ config: alone })

  await vi.waitFor(async () => expect(await status(sealgate)).toBe('good'), PATIENCE)

  await sealgate.finish()
})

test.each<[string, number, RegExp, (leaf: Issued) => () => void]>([
  ['is good', 0, /^ok .*OCSP good until/m, (leaf) => () => server.answer(ca.answer(leaf))],
  ['is away', 0, /^warning .*\(connection\).*MUST-STAPLE/m, () => () => server.behave((_, r) => r.destroy())],
  [
    'says revoked',
    69,
    /^error .*REVOKED/m,
    (leaf) => () => server.answer(ca.answer(leaf, { status: 'revoked' })),
  ],
  ['hangs', 0, /^warning .*\(timeout\)/m, () => () => server.behave(() => {})],
])('check of a must-staple certificate whose responder %s', async (_what, exit, says, behave) => {
  const leaf = issue({ responder: server.url, mustStaple: true })
  behave(leaf)()
  const file = join(folder, 'check.yaml')
  writeFileSync(file, JSON.stringify(config(leaf, { timeout: '500ms' })))

  const { stdout, status: ended } = await sealgateCommand(['check', '--config', file])

  expect(stdout).toMatch(says)
  expect(ended).toBe(exit)
})

test('check tells why there is nothing to staple', async () => {
  const [plain, off] = [issue(), issue({ responder: server.url, mustStaple: true })]
  const file = join(folder, 'check.yaml')
  writeFileSync(file, JSON.stringify(config(plain)))
  expect((await sealgateCommand(['check', '--config', file])).stdout).toMatch(
    /^ok .*no OCSP: the certificate names no OCSP responder/m,
  )

  writeFileSync(file, JSON.stringify(config(off, { staple: 'off' })))

  expect((await sealgateCommand(['check', '--config', file])).stdout).toMatch(
    /^warning .*no OCSP: stapling is off; it is a MUST-STAPLE/m,
  )
  expect(server.asked).toEqual([])
  rmSync(file)
})

/** How often the log has said that a must-staple certificate has none. */
function withoutResponse({ lines }: Sealgate): number {
  return lines.filter(({ msg }) => msg?.startsWith('must-staple certificate without')).length
}

function issue(options: IssueOptions = {}): Issued {
  return ca.issue({ spki, ...options })
}

function config({ chain }: Pick<Issued, 'chain'>, ocsp: object = {}, own?: object): object {
  const key = { uri: 'pkcs11:object=web;type=private', hsms: ['hsm-a'] }
  const certificate = { chain, key, ...(own !== undefined && { ocsp: own }) }
  return site.config([upstream.port], { certificates: [certificate], ocsp })
}

function ask(sealgate: Sealgate, ...args: readonly string[]) {
  return sClient(sealgate.port(), ['-CAfile', ca.certificate, '-servername', 'localhost', ...args], '')
}

/** What a client that asks gets. */
async function status(sealgate: Sealgate): Promise<string> {
  const { stdout } = await ask(sealgate, '-status')
  if (stdout.includes('OCSP response: no response sent')) return 'none'
  return /Cert Status: (\w+)/.exec(stdout)?.[1] ?? `failed: ${stdout}`
}

async function nextUpdate(sealgate: Sealgate): Promise<string | undefined> {
  return /Next Update: (.*)/.exec((await ask(sealgate, '-status')).stdout)?.[1]
}

const PATIENCE = { timeout: 20_000, interval: 100 }
