/** The log on a real file system: rotation, what happens when there is no room, one writer, and a file that is gone. */

import { randomUUID } from 'node:crypto'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import { AuditLog } from '../../../src/audit/audit-log.ts'
import { AuditedKey } from '../../../src/audit/audited-key.ts'
import type { AuditOptions } from '../../../src/audit/options.ts'
import { type Verification, verifyFiles } from '../../../src/audit/verify.ts'
import type { KeyUse } from '../../../src/hsm/key-use.ts'
import { Journal } from '../../../src/keys/journal.ts'
import { createMetrics, type Metrics } from '../../../src/metrics/metrics.ts'
import { SIGNATURE_SCHEMES } from '../../../src/signing.ts'
import { MemoryKey } from '../../support/memory-key.ts'
import { PATIENCE } from '../../support/patience.ts'
import { signRequest } from '../../support/signing.ts'
import { ecKeyPem } from './ec-key.ts'

let directory: string
let file: string
let metrics: Metrics
const open = new Set<AuditLog>()

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sealgate-audit-'))
  file = join(directory, 'audit.jsonl')
})
afterEach(async () => {
  for (const log of open) await log.close()
  open.clear()
  rmSync(directory, { recursive: true, force: true })
})

test('a log is verified while it is written, with the lock among the files that a shell names', async () => {
  const log = await start({})
  log.record(use(1))
  await written(log)

  expect(await verify(readdirSync(directory))).toMatchObject({ ok: true, records: 2, findings: [] })
})

test('full files get numbers, and one chain runs through all of them', async () => {
  const log = await start({ rotateBytes: 20_000 })
  for (let n = 0; n < 300; n++) {
    log.record(use(n))
    if (n % 20 === 0) await written(log)
  }
  await log.close()

  expect(names().length).toBeGreaterThan(3)
  expect(names()[0]).toBe('audit.jsonl')
  expect(names()[1]).toBe('audit.jsonl.000001')
  expect(await verify()).toMatchObject({ ok: true, records: 302 + names().length - 1, findings: [] })
  // A file that is missing in the middle is missed.
  expect((await verify(names().toSpliced(2, 1))).findings).toMatchObject([{ kind: 'missing' }])
})

test('files beyond `keep` are removed, which the log itself says', async () => {
  const log = await start({ rotateBytes: 20_000, keep: 2 })
  for (let n = 0; n < 300; n++) {
    log.record(use(n))
    if (n % 20 === 0) await written(log)
  }
  await log.close()

  expect(names()).toHaveLength(3)
  const result = await verify()
  expect(result).toMatchObject({ ok: true, findings: [] })
  expect(result.first?.seq).toBeGreaterThan(1)
  // By somebody else, it is not.
  rmSync(join(directory, names()[1] ?? ''))
  expect((await verify()).findings).toMatchObject([{ kind: 'missing' }])
})

test('a chain goes on in the next process, also when a crash came between two files', async () => {
  await (await start({})).close()
  await (await start({})).close()
  renameSync(file, `${file}.000001`)
  await (await start({})).close()

  expect(await verify()).toMatchObject({ ok: true, starts: 3, records: 6 })
})

test('a record that a crash left without its newline is the one that the next start follows', async () => {
  await (await start({})).close()
  truncateSync(file, statSync(file).size - 1)
  await (await start({})).close()
  expect(await verify()).toMatchObject({ findings: [], starts: 2, records: 4, torn: 0 })

  // Also as the first one of its file.
  const lines = readFileSync(file, 'utf8').split('\n')
  writeFileSync(`${file}.000001`, `${lines.slice(0, 3).join('\n')}\n`)
  writeFileSync(file, lines[3] ?? '')
  await (await start({})).close()
  expect(await verify()).toMatchObject({ findings: [], starts: 3, records: 6, torn: 0 })
})

test('the journal of key management follows such a record, too', async () => {
  const options = { audit: auditOptions({}), hsms: [], config: undefined, command: { name: 'keys list' } }
  const journal = join(directory, 'keys-audit.jsonl')
  await (await Journal.open(options)).close()
  truncateSync(journal, statSync(journal).size - 1)
  await (await Journal.open(options)).close()

  expect(await verify([basename(journal)])).toMatchObject({ findings: [], starts: 2, records: 4, torn: 0 })
})

test('a process that was killed leaves a lock that holds nobody up; a live one does', async () => {
  const log = await start({})
  await expect(start({})).rejects.toMatchObject({ code: 'ERR_AUDIT_LOCKED' })
  await log.close()
  expect(readdirSync(directory)).toEqual(['audit.jsonl'])

  await (await start({})).close()
})

test('without room, `count` loses records and says how many; nothing is lost without being counted', async () => {
  const log = await start({ overflow: 'count', bufferBytes: 20_000 })
  for (let n = 0; n < 1000; n++) log.record(use(n))
  expect(log.hasRoom).toBe(true)
  await written(log)
  log.record(use(1000))
  await log.close()

  const { records, lost, ok } = await verify()
  expect(ok).toBe(true)
  expect(lost).toBeGreaterThan(900)
  // start, loss, stop and what was kept.
  expect(records - 3 + lost).toBe(1001)
  expect(log.status().lost).toBe(lost)
})

test('without room, `block` lets signatures wait until there is, and none is without its record', async () => {
  const log = await start({ overflow: 'block', bufferBytes: 20_000 })
  const key = new AuditedKey(new MemoryKey(ecKeyPem()), log)
  const scheme = key.schemes[0] ?? fail()
  for (let n = 0; n < 40; n++) log.record(use(n))
  expect(log.hasRoom).toBe(false)

  const signing = key.sign(signRequest(scheme))

  expect(await gauge('sealgate_audit_waiting')).toBe(1)
  expect((await signing).length).toBeGreaterThan(0)
  expect(log.hasRoom).toBe(true)
  expect(await gauge('sealgate_audit_waiting')).toBe(0)
  await log.close()
  expect(await verify()).toMatchObject({ ok: true, lost: 0, records: 42 })
})

test('a signature that finds no room before its deadline fails with ERR_AUDIT_FULL', async () => {
  const log = await start({ overflow: 'block', bufferBytes: 20_000 })
  const key = new AuditedKey(new MemoryKey(ecKeyPem()), log)
  rmSync(directory, { recursive: true })
  await vi.waitFor(() => {
    log.record(use(0))
    expect(log.status().error).toBeDefined()
  }, PATIENCE)
  while (log.hasRoom) log.record(use(1))

  const refused = key.sign(signRequest(key.schemes[0] ?? fail(), { timeoutMs: 100 }))

  await expect(refused).rejects.toMatchObject({ code: 'ERR_AUDIT_FULL', retryable: false })
  expect(await gauge('sealgate_audit_waiting')).toBe(0)
})

test('a file that was removed is replaced by a new one, and what went with it is missed', async () => {
  const log = await start({})
  log.record(use(1))
  await written(log)
  rmSync(file)
  await vi.waitFor(() => {
    log.record(use(2))
    expect(existsSync(file)).toBe(true)
  }, PATIENCE)
  await log.close()

  const { findings } = await verify()
  expect(findings).toMatchObject([{ kind: 'missing', line: 1 }])
  expect(readFileSync(file, 'utf8')).toContain('"type":"trouble"')
})

test('another file in its place is kept, and not written to', async () => {
  const log = await start({})
  await written(log)
  rmSync(file)
  writeFileSync(file, 'somebody else’s\n')
  await vi.waitFor(() => {
    log.record(use(2))
    expect(names()).toHaveLength(2)
  }, PATIENCE)
  await log.close()

  expect(readFileSync(`${file}.000001`, 'utf8')).toBe('somebody else’s\n')
})

async function start(options: Partial<AuditOptions>): Promise<AuditLog> {
  metrics = createMetrics()
  const log = await AuditLog.open({
    audit: auditOptions(options),
    version: '0.0.0',
    config: { file: 'sealgate.yaml', sha256: '0'.repeat(64) },
    log: pino({ level: 'silent' }),
    metrics,
  })
  open.add(log)
  return log
}

function auditOptions(options: Partial<AuditOptions>): AuditOptions {
  return {
    file,
    rotateBytes: 1_000_000,
    keep: undefined,
    fsync: 'never',
    overflow: 'count',
    bufferBytes: 1_000_000,
    checkpoint: undefined,
    ...options,
  }
}

function use(n: number): KeyUse {
  return {
    kind: 'signature',
    reason: 'handshake',
    hsm: 'hsm-a',
    uri: 'pkcs11:object=web;type=private',
    spki: SPKI,
    scheme: { name: 'ecdsa_secp256r1_sha256', ...SIGNATURE_SCHEMES.ecdsa_secp256r1_sha256 },
    message: Buffer.from(randomUUID()),
    result: 'ok',
    used: true,
    latencyMs: 0.5,
    attempt: 1,
    hedge: false,
    connection: { id: n, serverName: 'müller.example', peer: '2001:db8::1' },
  }
}

function written(log: AuditLog): Promise<void> {
  return vi.waitFor(() => expect(log.status().bufferedBytes).toBe(0), { ...PATIENCE, interval: 2 })
}

function names(): string[] {
  return readdirSync(directory)
    .filter((name) => name.startsWith('audit.jsonl') && !name.endsWith('.lock'))
    .toSorted()
}

function verify(files = names()): Promise<Verification> {
  return verifyFiles(
    files.map((name) => join(directory, name)),
    { publicKey: undefined, expectHead: undefined },
  )
}

async function gauge(name: string): Promise<number | undefined> {
  const value = await metrics.registry.getSingleMetric(name)?.get()
  return value?.values[0]?.value
}

function fail(): never {
  throw new Error('no scheme')
}

const SPKI = Buffer.from('the same object for all uses')
