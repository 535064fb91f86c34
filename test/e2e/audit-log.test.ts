/** The audit log of a real process: every signature once, checkpoints that openssl verifies, and what a crash leaves. */

import { createPublicKey } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { PATIENCE } from '../support/patience.ts'
import { type Sealgate, sealgateCommand, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl, runTool } from '../support/tools.ts'

let site: Site
let upstream: TestUpstream
let directory: string
let file: string
let publicKey: string

beforeEach(async () => {
  site = new Site()
  upstream = await startUpstream((_request, response) => response.end('served'))
  directory = join(site.directory, 'audit')
  mkdirSync(directory)
  file = join(directory, 'audit.jsonl')
  publicKey = join(site.directory, 'audit.pub.pem')
  const spki = site.token.generateKey({ label: 'audit', id: 'a0', type: 'EC:prime256v1' })
  const key = createPublicKey({ key: spki, format: 'der', type: 'spki' })
  writeFileSync(publicKey, key.export({ type: 'spki', format: 'pem' }))
})
afterEach(async () => {
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

test('there is one record for each signature in the metrics, and verify finds nothing', async () => {
  const sealgate = await start()
  await handshakes(sealgate, 20)
  await sealgate.untilAtRest()
  const metrics = await sealgate.metrics()
  await sealgate.finish()

  const signs = records().filter(({ type, reason }) => type === 'sign' && reason === 'handshake')
  expect(signs).toHaveLength(20)
  expect(metrics.sum('sealgate_audit_records_total', { type: 'sign' })).toBeGreaterThanOrEqual(20)
  expect(signs.length).toBe(
    metrics.sum('sealgate_signatures_total') -
      metrics.sum('sealgate_audit_checkpoints_total', { result: 'ok' }),
  )
  expect(signs[0]).toMatchObject({
    key: { uri: 'pkcs11:object=key-1;type=private' },
    hsm: 'hsm-a',
    scheme: 'ecdsa_secp256r1_sha256',
    result: 'ok',
    used: true,
    serverName: 'localhost',
    peer: '127.0.0.1',
  })
  expect(new Set(signs.map(({ messageSha256 }) => messageSha256)).size).toBe(20)
  expect(records().map(({ type }) => type)).toEqual(expect.arrayContaining(['start', 'login', 'stop']))
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(await verify('--public-key', publicKey, '--json')).toMatchObject({
    status: 0,
    result: { ok: true, uncovered: 0, findings: [] },
  })
})

test('openssl verifies a checkpoint, and the hash of a line is that of its bytes', async () => {
  const sealgate = await start()
  await handshakes(sealgate, 3)
  await sealgate.finish()

  const checkpoint = records().findLast(({ type }) => type === 'checkpoint')
  const { covers, signature } = checkpoint ?? {}
  const message = join(directory, 'message')
  writeFileSync(message, `Sealgate audit checkpoint 1\nrecord ${covers?.seq}\nsha256 ${covers?.hash}\n`)
  writeFileSync(`${message}.sig`, Buffer.from(String(signature), 'base64'))
  const args = ['dgst', '-sha256', '-verify', publicKey, '-signature', `${message}.sig`, message]
  expect((await runTool('openssl', args)).stdout).toBe('Verified OK\n')

  const line = readFileSync(file, 'latin1').split('\n')[Number(covers?.seq) - 1]
  writeFileSync(message, String(line).replace(/,"hash":"[0-9a-f]{64}"\}$/, ''), 'latin1')
  expect((await runTool('openssl', ['dgst', '-sha256', '-r', message])).stdout).toContain(covers?.hash)
})

test('a second process is told who has the file, and touches nothing', async () => {
  const sealgate = await start()
  const before = readFileSync(file, 'utf8')

  const second = await sealgateCommand(['run', '--config', configFile()])

  expect(second).toMatchObject({ status: 69, stderr: expect.stringContaining('written by another Sealgate') })
  // The first one writes on; a checkpoint may have come.
  const after = readFileSync(file, 'utf8')
  expect(after.slice(0, before.length)).toBe(before)
  expect(after.match(/"type":"start"/g)).toHaveLength(1)
  await sealgate.finish()
})

test('a chain goes on after kill -9 under load, and only what was not written yet is gone', {
  timeout: 90_000,
}, async () => {
  const first = await start({ audit: { rotate: '64KiB', keep: undefined } })
  const load = Promise.all(Array.from({ length: 4 }, () => handshakes(first, 40).catch(() => {})))
  await vi.waitFor(() => expect(readdirSync(directory).length).toBeGreaterThan(2), { timeout: 20_000 })
  first.signal('SIGKILL')
  await first.ended
  await load

  const second = await start()
  await handshakes(second, 2)
  await second.finish()

  const result = await verify('--public-key', publicKey, '--json')
  expect(result).toMatchObject({ status: 0, result: { ok: true, starts: 2, uncovered: 0 } })
})

test('a torn last line is known to the chain after the next start', async () => {
  await (await start()).finish()
  const torn = '{"seq":99,"time":"2026-'
  writeFileSync(file, torn, { flag: 'a' })
  expect(await verify()).toMatchObject({
    status: 65,
    stdout: expect.stringContaining('ends within this line'),
  })

  const second = await start()
  await second.finish()

  expect(await verify('--json')).toMatchObject({ status: 0, result: { torn: 1, findings: [] } })
  expect(readFileSync(file, 'utf8')).toContain(`${torn}\n`)
})

test('a file whose last record was edited is kept, and a new chain says why it begins', async () => {
  await (await start()).finish()
  const edited = readFileSync(file, 'utf8').replace(/"type":"(\w+)"(?!.*"type")/s, '"type":"other"')
  writeFileSync(file, edited)

  const second = await start()
  await second.finish()

  expect(readFileSync(`${file}.000001`, 'utf8')).toBe(edited)
  expect(second.lines.find(({ level }) => level === 'error')?.msg).toContain('damaged')
  const { status, stdout } = await verify()
  expect(status).toBe(65)
  expect(stdout).toMatch(/audit\.jsonl\.000001:\d+: edited/)
  expect(stdout).toMatch(/audit\.jsonl:1: unanchored: .*000001 was found damaged/)
})

test('a full disk costs no handshake; afterwards everything is in the chain', async () => {
  const sealgate = await start()
  await handshakes(sealgate, 2)
  await limitFiles(sealgate, `${statSync(file).size + 700}`)
  await handshakes(sealgate, 10)
  await vi.waitFor(async () => expect((await sealgate.metrics()).sum('sealgate_audit_up')).toBe(0), PATIENCE)
  await handshakes(sealgate, 10)
  expect((await sealgate.metrics()).sum('sealgate_audit_errors_total', { reason: 'EFBIG' })).toBeGreaterThan(
    0,
  )
  expect((await sealgate.metrics()).sum('sealgate_audit_buffered_bytes')).toBeGreaterThan(0)

  await limitFiles(sealgate, 'unlimited')
  await vi.waitFor(async () => expect((await sealgate.metrics()).sum('sealgate_audit_up')).toBe(1), PATIENCE)
  await sealgate.finish()

  expect(records().filter(({ type, reason }) => type === 'sign' && reason === 'handshake')).toHaveLength(22)
  expect(records().filter(({ type }) => type === 'trouble')).toMatchObject([{ code: 'EFBIG' }])
  expect(await verify('--public-key', publicKey)).toMatchObject({ status: 0 })
})

test('a directory that disappears and comes back costs neither handshake nor record', async () => {
  const sealgate = await start()
  renameSync(directory, `${directory}-away`)
  await vi.waitFor(
    async () => {
      await handshakes(sealgate, 1)
      expect((await sealgate.metrics()).sum('sealgate_audit_up')).toBe(0)
    },
    { timeout: 10_000 },
  )
  renameSync(`${directory}-away`, directory)
  await vi.waitFor(async () => expect((await sealgate.metrics()).sum('sealgate_audit_up')).toBe(1), PATIENCE)
  const signatures = (await sealgate.metrics()).sum('sealgate_signatures_total')
  await sealgate.finish()

  expect(
    records().filter(({ type, reason }) => type === 'sign' && reason !== 'test').length,
  ).toBeGreaterThanOrEqual(signatures)
  expect(await verify('--public-key', publicKey)).toMatchObject({ status: 0 })
})

test('an empty file is named as a whole by what verify finds', async () => {
  writeFileSync(file, '')

  expect(await verify('--public-key', publicKey)).toEqual({
    status: 65,
    stdout: `${file}: checkpoint: there is no checkpoint that the key could verify\nno record\n`,
  })
})

function start(overrides: { audit?: object } = {}): Promise<Sealgate> {
  const checkpoint = {
    key: { uri: 'pkcs11:object=audit;type=private', hsms: ['hsm-a'] },
    public_key: publicKey,
  }
  const audit = { file, checkpoint: { ...checkpoint, every: '1s' }, ...overrides.audit }
  certificate ??= site.certificate()
  const config = site.config([upstream.port], { certificates: [certificate], audit })
  writeFileSync(configFile(), JSON.stringify(config))
  return startSealgate({ config })
}
let certificate: ReturnType<Site['certificate']> | undefined
beforeEach(() => {
  certificate = undefined
})

function configFile(): string {
  return join(site.directory, 'second.yaml')
}

async function handshakes(sealgate: Sealgate, count: number): Promise<void> {
  for (let made = 0; made < count; made++) {
    const { stdout, stderr } = await curl('--cacert', site.ca, sealgate.url())
    if (stdout !== 'served') throw new Error(`no answer: ${stderr}`)
  }
}

interface AnyRecord extends Record<string, unknown> {
  readonly covers?: { readonly seq: number; readonly hash: string }
}

function records(): AnyRecord[] {
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
  return lines.map((line) => JSON.parse(line))
}

async function verify(
  ...options: string[]
): Promise<{ status: number | null; stdout: string; result?: unknown }> {
  const files = readdirSync(directory).filter((name) => /^audit\.jsonl(\.\d+)?$/.test(name))
  const paths = files.map((name) => join(directory, name))
  const { status, stdout, stderr } = await sealgateCommand(['audit', 'verify', ...options, ...paths])
  if (stderr !== '') throw new Error(stderr)
  return { status, stdout, ...(options.includes('--json') ? { result: JSON.parse(stdout) } : {}) }
}

/** As `ulimit -f` would: a write beyond it fails. Works without root, and can be taken back. */
async function limitFiles(sealgate: Sealgate, bytes: string): Promise<void> {
  const { status, stderr } = await runTool('prlimit', [
    '--pid',
    `${sealgate.pid}`,
    `--fsize=${bytes}:unlimited`,
  ])
  if (status !== 0) throw new Error(`prlimit (of util-linux): ${stderr}`)
}
