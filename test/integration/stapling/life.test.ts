/**
 * The life of responses: which one TLS is given, when the next one is asked for, and when there is none. A server in
 * the responder's place says what it is told to; time is real, so lives are short here.
 */

import { X509Certificate } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { loadAddon, type NativeStaple } from '../../../src/native/addon.ts'
import { ResponseCache } from '../../../src/stapling/cache.ts'
import type { StapledOptions, StaplingSource } from '../../../src/stapling/options.ts'
import { Stapling } from '../../../src/stapling/stapling.ts'
import { type Issued, OcspCa } from '../../support/ocsp-ca.ts'
import { OcspServer } from '../../support/ocsp-server.ts'

let directory: string
let ca: OcspCa
let server: OcspServer
let cache: string
let caches = 0
const open: Stapling[] = []

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'sealgate-stapling-'))
  ca = new OcspCa(directory)
})

afterAll(() => rmSync(directory, { recursive: true, force: true }))

beforeEach(async () => {
  server = await OcspServer.start()
  caches += 1
  cache = join(directory, `cache-${caches}`)
})

afterEach(async () => {
  vi.useRealTimers()
  for (const stapling of open.splice(0)) await stapling.close()
  await server[Symbol.asyncDispose]()
})

test('a response is stapled until its end and the next one is got before', async () => {
  const leaf = ca.issue({ responder: server.url })
  server.answer(() => ca.answer(leaf, { thisUpdateS: 0, nextUpdateS: 8 }))
  const { stapling, metrics } = start([certificate(leaf)])

  const first = await stapled(stapling)
  expect(first.endsS).toBeLessThanOrEqual(Date.now() / 1000 + 8)
  // Asked again a little after four seconds, and there was never none between.
  await vi.waitFor(() => expect(stapling.staples()[0]?.endsS).toBeGreaterThan(first.endsS), PATIENCE)

  expect(server.asked.length).toBe(2)
  expect(await metrics('sealgate_ocsp_stapled')).toEqual([1])
  expect(await metrics('sealgate_ocsp_refreshes_total')).toEqual([2])
})

test('of two with the same first name, the metrics show the one that is without', async () => {
  const [lucky, unlucky] = [ca.issue({ responder: server.url }), ca.issue({})]
  server.answer(ca.answer(lucky, { thisUpdateS: 0, nextUpdateS: 60 }))
  const without = { ...certificate(unlucky), stapling: { ...certificate(unlucky).stapling, required: true } }
  const { stapling, metrics } = start([without, certificate(lucky)])
  await vi.waitFor(() => expect(stapling.staples().some(({ endsS }) => endsS > 0)).toBe(true), PATIENCE)

  expect(await metrics('sealgate_ocsp_stapled')).toEqual([0])
  expect(await metrics('sealgate_ocsp_required')).toEqual([1])
})

test('a response is taken back at its end when the responder is gone', async () => {
  const leaf = ca.issue({ responder: server.url })
  server.answer(ca.answer(leaf, { thisUpdateS: 0, nextUpdateS: 3 }))
  const { stapling, metrics, changes } = start([certificate(leaf)])
  const { endsS } = await stapled(stapling)
  server.behave((_request, response) => response.destroy())
  const before = changes()

  await vi.waitFor(() => expect(stapling.staples()).toEqual([]), PATIENCE)

  expect(Date.now() / 1000).toBeGreaterThanOrEqual(endsS)
  await vi.waitFor(() => expect(changes()).toBeGreaterThan(before), PATIENCE) // TLS was told
  expect(await metrics('sealgate_ocsp_stapled')).toEqual([0])
  expect(await metrics('sealgate_ocsp_next_update_timestamp_seconds')).toEqual([])
})

test.each([
  ['has ended', 8],
  ['was to be renewed', 2],
])('a response that %s while the machine was suspended is asked for soon after', async (_, days) => {
  vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'] })
  const leaf = ca.issue({ responder: server.url })
  server.answer(() => ca.answer(leaf, { thisUpdateS: 0, nextUpdateS: 7 * 86_400 }))
  const { stapling } = start([certificate(leaf)])
  const first = await stapled(stapling)

  // The clock goes on, timers do not.
  vi.setSystemTime(Date.now() + days * 86_400_000)
  await vi.advanceTimersByTimeAsync(3_600_001)

  await vi.waitFor(() => expect(stapling.staples()[0]?.endsS).toBeGreaterThan(first.endsS), PATIENCE)
  expect(server.asked.length).toBe(2)
})

test('trouble leaves the response in force', async () => {
  const leaf = ca.issue({ responder: server.url })
  server.answer(ca.answer(leaf, { thisUpdateS: 0, nextUpdateS: 6 }))
  const { stapling } = start([certificate(leaf)])
  const { response } = await stapled(stapling)
  server.answer(ca.answer(leaf, { status: 'unknown', thisUpdateS: 0 }))

  await vi.waitFor(() => expect(server.asked.length).toBe(2), PATIENCE)

  await vi.waitFor(() => expect(refreshOf(stapling)).toMatchObject({ outcome: 'unknown' }), PATIENCE)
  expect(stapling.staples()[0]?.response).toEqual(response)
})

test('a revocation takes the response back at once, also for the next start', async () => {
  const leaf = ca.issue({ responder: server.url })
  server.answer(ca.answer(leaf, { thisUpdateS: -20, nextUpdateS: 25 }))
  const { stapling, lines } = start([certificate(leaf)])
  await stapled(stapling)
  server.answer(() => ca.answer(leaf, { status: 'revoked', thisUpdateS: 0 }))

  await vi.waitFor(() => expect(stapling.staples()).toEqual([]), PATIENCE)

  expect(refreshOf(stapling)).toMatchObject({ outcome: 'revoked' })
  expect(lines.filter(({ level }) => level === 'error')).toMatchObject([{ msg: 'certificate is revoked' }])
  await stapling.close()
  await cached()
  const { url } = server
  await server[Symbol.asyncDispose]()
  const next = start([certificate(leaf)])
  await vi.waitFor(() => expect(refreshOf(next.stapling)).toMatchObject({ outcome: 'connection' }), PATIENCE)
  expect(next.lines).toMatchObject([{ msg: 'certificate is revoked' }, { msg: 'no OCSP response' }])
  expect(next.stapling.staples()).toEqual([])
  server = await OcspServer.start(Number(new URL(url).port))
})

test('an older answer from a cache on the way does not undo a revocation', async () => {
  const leaf = ca.issue({ responder: server.url })
  const old = ca.answer(leaf, { thisUpdateS: -60 })
  server.answer(ca.answer(leaf, { status: 'revoked', thisUpdateS: -30 }))
  const { stapling } = start([certificate(leaf)])
  await vi.waitFor(() => expect(refreshOf(stapling)).toMatchObject({ outcome: 'revoked' }), PATIENCE)
  server.answer(old)

  await vi.waitFor(() => expect(server.asked.length).toBe(2), PATIENCE)

  await vi.waitFor(() => expect(refreshOf(stapling)).toMatchObject({ outcome: 'good' }), PATIENCE)
  expect(stapling.staples()).toEqual([])
})

test('a responder that comes back is asked again soon', async () => {
  const leaf = ca.issue({ responder: server.url })
  const { port } = server
  await server[Symbol.asyncDispose]()
  const { stapling } = start([certificate(leaf)])
  await vi.waitFor(() => expect(refreshOf(stapling)).toMatchObject({ outcome: 'connection' }), PATIENCE)

  server = await OcspServer.start(port)
  server.answer(ca.answer(leaf))

  await stapled(stapling)
})

// ---- the cache -------------------------------------------------------------------------------------------------

test('a response survives a restart without its responder', async () => {
  const leaf = ca.issue({ responder: server.url })
  server.answer(ca.answer(leaf))
  const { stapling } = start([certificate(leaf)])
  const { response } = await stapled(stapling)
  await cached()
  await stapling.close()
  server.behave((_request, other) => other.destroy())

  const { stapling: next } = start([certificate(leaf)])

  expect(Buffer.from((await stapled(next)).response)).toEqual(Buffer.from(response))
  expect(server.asked.length).toBe(1) // it is good for long: nobody needs to be asked
})

test.each<[string, (leaf: Issued) => Buffer]>([
  ['another certificate', () => ca.answer(ca.issue())],
  ['a time that is over', (leaf) => ca.answer(leaf, { thisUpdateS: -900, nextUpdateS: -1 })],
  ['half of one', (leaf) => ca.answer(leaf).subarray(0, 100)],
  ['nobody: garbage', () => Buffer.alloc(5_000, 0x41)],
  ['nobody: 10 MB', () => Buffer.alloc(10_000_000, 0x30)],
])('a cached response for %s is not believed', async (_what, bytes) => {
  const leaf = ca.issue({ responder: server.url })
  server.answer(ca.answer(leaf))
  const { stapling } = start([certificate(leaf)])
  await stapled(stapling)
  const file = await cached()
  await stapling.close()
  writeFileSync(file, bytes(leaf))
  server.behave((_request, response) => response.destroy())

  const { stapling: next } = start([certificate(leaf)])

  await vi.waitFor(() => expect(refreshOf(next)).toMatchObject({ outcome: 'connection' }), PATIENCE)
  expect(next.staples()).toEqual([])
})

test('a cache that cannot be written costs the next start, not this one', async () => {
  writeFileSync(cache, 'a file where the directory should be')
  const leaf = ca.issue({ responder: server.url })
  server.answer(ca.answer(leaf))
  const { stapling, lines } = start([certificate(leaf)])

  await stapled(stapling)

  await vi.waitFor(
    () => expect(lines.some(({ msg }) => String(msg).includes('not kept'))).toBe(true),
    PATIENCE,
  )
})

test('the cache is for this user only, and holds whole files', async () => {
  const leaf = ca.issue({ responder: server.url })
  server.answer(ca.answer(leaf))
  const { stapling } = start([certificate(leaf)])
  const { response } = await stapled(stapling)

  expect(readFileSync(await cached())).toEqual(Buffer.from(response))
  expect(readdirSync(cache)).toHaveLength(1)
})

test('the last of many writes is what the next start finds', async () => {
  // The last one is the fastest to write.
  const responses = Array.from({ length: 20 }, (_, index) => Buffer.alloc(60_000 - index * 3_000, index))
  const written = new ResponseCache(cache, pino({ level: 'silent' }))

  for (const response of responses) void written.write('one', response)
  await written.settled()

  expect(await written.read('one')).toEqual(responses.at(-1))
  expect(readdirSync(cache)).toEqual(['one.ocsp'])
})

// ---- a file as the source ---------------------------------------------------------------------------------------

test('a file is read again when it is replaced', async () => {
  const leaf = ca.issue()
  const file = join(directory, 'replaced.ocsp')
  const [first, second] = [ca.answer(leaf, { thisUpdateS: -600 }), ca.answer(leaf, { thisUpdateS: -60 })]
  writeFileSync(file, first)
  const { stapling } = start([certificate(leaf, { kind: 'file', file })])
  expect(Buffer.from((await stapled(stapling)).response)).toEqual(first)

  writeFileSync(`${file}.new`, second)
  renameSync(`${file}.new`, file)

  await vi.waitFor(() => {
    expect(Buffer.from(stapling.staples()[0]?.response ?? [])).toEqual(second)
  }, PATIENCE)
})

test('a file that is replaced by something bad leaves the response in force, and says why', async () => {
  const leaf = ca.issue()
  const file = join(directory, 'spoilt.ocsp')
  const first = ca.answer(leaf)
  writeFileSync(file, first)
  const { stapling, lines } = start([certificate(leaf, { kind: 'file', file })])
  await stapled(stapling)

  writeFileSync(file, `-----BEGIN OCSP RESPONSE-----\n${first.toString('base64')}\n`)

  await vi.waitFor(() => expect(refreshOf(stapling)).toMatchObject({ outcome: 'malformed' }), PATIENCE)
  expect(lines.at(-1)).toMatchObject({ level: 'warn', reason: expect.stringMatching(/PEM.*DER/) })
  expect(stapling.staples()).toHaveLength(1)
})

test.each<[string, string, (file: string, leaf: Issued) => void]>([
  ['is missing', 'file', () => {}],
  ['is a directory', 'file', (file) => mkdirSync(file)],
  ['is for another certificate', 'other-certificate', (file) => writeFileSync(file, ca.answer(ca.issue()))],
  ['is cut off', 'malformed', (file, leaf) => writeFileSync(file, ca.answer(leaf).subarray(0, 99))],
  ['is empty', 'malformed', (file) => writeFileSync(file, '')],
  ['has 10 MB', 'too-large', (file) => writeFileSync(file, Buffer.alloc(10_000_000))],
])('a file that %s is told, and nothing is stapled', async (what, outcome, write) => {
  const leaf = ca.issue()
  const file = join(directory, `${what.replaceAll(' ', '-')}.ocsp`)
  write(file, leaf)
  const { stapling } = start([certificate(leaf, { kind: 'file', file })])

  await vi.waitFor(() => expect(refreshOf(stapling)).toMatchObject({ outcome }), PATIENCE)

  expect(stapling.staples()).toEqual([])
})

// ---- other certificates -----------------------------------------------------------------------------------------

test('an update keeps the responses of those that stay, and forgets those that go', async () => {
  const [stays, goes, comes] = [1, 2, 3].map((number) =>
    ca.issue({ names: [`n${number}.test`], responder: server.url }),
  )
  if (stays === undefined || goes === undefined || comes === undefined) throw new Error('three were issued')
  server.behave((request, response) => {
    const wanted = [stays, goes, comes].find(({ serial }) => asks(request.url ?? '', serial))
    response.writeHead(200, { 'content-type': 'application/ocsp-response' })
    response.end(ca.answer(wanted ?? stays))
  })
  const { stapling, metrics } = start([certificate(stays, {}, 'n1.test'), certificate(goes, {}, 'n2.test')])
  await vi.waitFor(() => expect(stapling.staples()).toHaveLength(2), PATIENCE)
  const [kept] = stapling.staples()

  stapling.update([certificate(comes, {}, 'n3.test'), certificate(stays, {}, 'n1.test')])

  expect(stapling.staples()).toEqual([kept]) // at once, and the same
  await vi.waitFor(() => expect(stapling.staples()).toHaveLength(2), PATIENCE)
  expect(server.asked).toHaveLength(3)
  expect(await metrics('sealgate_ocsp_stapled')).toEqual([1, 1])
  stapling.update([])
  expect(stapling.staples()).toEqual([])
  expect(await metrics('sealgate_ocsp_stapled')).toEqual([])
})

// ---- certificates that must not be without ------------------------------------------------------------------------

test('the first answers are waited for where a certificate is must-staple', async () => {
  const leaf = ca.issue({ responder: server.url, mustStaple: true })
  server.behave((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/ocsp-response' })
    setTimeout(() => response.end(ca.answer(leaf)), 300)
  })
  const { stapling, lines } = start([certificate(leaf)])

  await stapling.firstAnswers(20_000, never)

  expect(stapling.staples()).toHaveLength(1)
  expect(lines.filter(({ level }) => level === 'error')).toEqual([])
})

test('they are waited for no longer than is configured, and the log says who is without', async () => {
  const leaf = ca.issue({ responder: server.url, mustStaple: true })
  server.behave(() => {})
  const { stapling, lines, metrics } = start([certificate(leaf)])
  const started = performance.now()

  await stapling.firstAnswers(200, never)

  expect(performance.now() - started).toBeGreaterThan(150)
  expect(performance.now() - started).toBeLessThan(5_000)
  expect(lines.filter(({ level }) => level === 'error')).toMatchObject([{ certificate: leaf.chain }])
  expect(await metrics('sealgate_ocsp_required')).toEqual([1])
  expect(await metrics('sealgate_ocsp_stapled')).toEqual([0])
})

test('nobody waits for what is shown already; for a certificate that is new as long as is configured', async () => {
  const shown = certificate(ca.issue({ responder: server.url, mustStaple: true }))
  const fresh = certificate(ca.issue({ responder: server.url, mustStaple: true }))
  server.behave(() => {})
  const { stapling, lines } = start([shown])

  await stapling.firstAnswers(60_000, never, [shown])
  expect(lines.filter(({ level }) => level === 'error')).toEqual([])

  stapling.update([shown, fresh])
  await stapling.firstAnswers(200, never, [shown])
  expect(lines.filter(({ level }) => level === 'error')).toMatchObject([
    { certificate: fresh.certificate.file },
  ])
})

test('nobody waits for a certificate that may be without', async () => {
  const leaf = ca.issue({ responder: server.url })
  server.behave(() => {})
  const { stapling } = start([certificate(leaf)])

  await stapling.firstAnswers(60_000, never)

  expect(stapling.complete).toBe(true)
  expect(stapling.reasons()).toEqual([])
})

test('a certificate that is refused without a response is given to TLS as such', async () => {
  const leaf = ca.issue({ responder: server.url })
  server.answer(() => ca.answer(leaf, { thisUpdateS: 0, nextUpdateS: 3 }))
  const { stapling } = start([certificate(leaf, { required: true })])

  expect(stapling.staples()).toMatchObject([{ required: true, endsS: 0, response: new Uint8Array() }])
  expect(stapling.reasons()).toHaveLength(1)
  await vi.waitFor(() => expect(stapling.reasons()).toEqual([]), PATIENCE)
  expect(stapling.staples()).toMatchObject([{ required: true, endsS: expect.any(Number) }])
})

test('a certificate without a responder or an issuer is left alone, or warned of where it was wanted', () => {
  const silent = start([certificate(ca.issue())])
  const wanted = start([certificate(ca.issue(), { explicit: true })])
  const must = start([certificate(ca.issue({ mustStaple: true }), { kind: 'off' })])
  const orphan = start([certificate(ca.issue({ responder: server.url }), { issuer: undefined })])

  expect(silent.lines).toEqual([])
  expect(wanted.lines).toMatchObject([{ level: 'warn', reason: expect.stringMatching(/no OCSP responder/) }])
  expect(must.lines).toMatchObject([{ level: 'warn', reason: 'stapling is off' }])
  expect(orphan.lines).toMatchObject([
    { level: 'warn', reason: expect.stringMatching(/issuer is not known/) },
  ])
  expect(server.asked).toEqual([])
})

interface Line {
  readonly level: string
  readonly msg?: string
  readonly reason?: string
}

function start(certificates: readonly StapledOptions[]) {
  const lines: Line[] = []
  const formatters = { level: (label: string) => ({ level: label }) }
  const log = pino({ level: 'info', formatters }, { write: (line) => lines.push(JSON.parse(line)) })
  const metrics = createMetrics()
  let changes = 0
  const stapling = new Stapling({
    addon: loadAddon(),
    options: { cache, timeoutMs: 5_000 },
    log,
    metrics,
    onChange: () => {
      changes += 1
    },
  })
  open.push(stapling)
  stapling.update(certificates)
  const values = async (name: string): Promise<number[]> =>
    (await metrics.registry.getSingleMetric(name)?.get())?.values.map(({ value }) => value) ?? []
  return { stapling, lines, metrics: values, changes: () => changes }
}

function certificate(leaf: Issued, source: Partial<StaplingSource> = {}, name = 'localhost'): StapledOptions {
  const chain = [leaf.leaf, ca.certificate].map((file) => new X509Certificate(readFileSync(file)).raw)
  return {
    certificate: { file: leaf.chain, names: [name], keyType: 'ec', chain },
    stapling: {
      kind: 'fetch',
      responder: undefined,
      file: undefined,
      issuer: chain[1],
      explicit: false,
      required: false,
      ...source,
    },
  }
}

async function stapled(stapling: Stapling): Promise<NativeStaple> {
  return await vi.waitUntil(() => stapling.staples().find(({ endsS }) => endsS > 0), PATIENCE)
}

/** The only file of the cache, once it is there. */
async function cached(): Promise<string> {
  const name = await vi.waitUntil(
    () => existsSync(cache) && readdirSync(cache).find((file) => file.endsWith('.ocsp')),
    PATIENCE,
  )
  return join(cache, name || '')
}

function refreshOf(stapling: Stapling): unknown {
  const [status] = stapling.status()
  return status !== undefined && 'lastRefresh' in status ? status.lastRefresh : undefined
}

function asks(path: string, serial: string): boolean {
  const request = Buffer.from(decodeURIComponent(path.slice(1)), 'base64').toString('hex')
  return request.includes(serial.toLowerCase())
}

const never = new AbortController().signal
const PATIENCE = { timeout: 15_000, interval: 20 }
