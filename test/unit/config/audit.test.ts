/** `audit`: what it becomes, and what is said about mistakes in it. */

import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { configFixture, GOOD } from './config-fixture.ts'

const fixture = configFixture()
const { directory, load, problems, complaints } = fixture
afterAll(() => fixture[Symbol.dispose]())

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
writeFileSync(join(directory, 'audit.pub'), publicKey.export({ type: 'spki', format: 'pem' }))
writeFileSync(join(directory, 'audit.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }))
const CHECKPOINT = `  checkpoint:
    key: { uri: "pkcs11:object=audit;type=private", hsms: [hsm-a] }
    public_key: audit.pub
`
const withAudit = (text: string): string => `${GOOD}audit:\n${text}`

test('there is none unless it is asked for', async () => {
  expect((await load(GOOD)).audit).toBeUndefined()
})

test('paths are absolute, units are gone, and the rest has defaults', async () => {
  const { audit, warnings, sha256 } = await load(withAudit(`  file: audit.jsonl\n${CHECKPOINT}`))

  expect(audit).toEqual({
    file: join(directory, 'audit.jsonl'),
    rotateBytes: 100 * 1024 * 1024,
    keep: undefined,
    fsync: { everyMs: 1000 },
    overflow: 'count',
    bufferBytes: 16 * 1024 * 1024,
    checkpoint: {
      key: expect.objectContaining({
        uri: 'pkcs11:object=audit;type=private',
        label: 'audit',
        hsms: ['hsm-a'],
      }),
      spki: publicKey.export({ type: 'spki', format: 'der' }),
      everyMs: 10_000,
      everyRecords: 10_000,
    },
  })
  expect(warnings).toEqual([])
  expect(sha256).toMatch(/^[0-9a-f]{64}$/)
})

test.each([
  ['always', 'always'],
  ['never', 'never'],
  ['250ms', { everyMs: 250 }],
])('fsync: %s', async (text, expected) => {
  const { audit } = await load(withAudit(`  file: audit.jsonl\n  fsync: ${text}\n`))

  expect(audit?.fsync).toEqual(expected)
})

test('without a checkpoint there is a warning that says what that means', async () => {
  const { warnings } = await load(withAudit('  file: audit.jsonl\n'))

  expect(warnings).toEqual([expect.stringContaining('can write it anew without a trace')])
})

test.each([
  ['  file: missing/audit.jsonl\n', /^audit.file: there is no directory .*missing: make it/],
  ['  file: .\n', /^audit.file: .* is not a file$/],
  ['  file: a\n  fsnc: never\n', /^audit.fsnc: unknown key.*fsync/],
  ['  file: a\n  fsync: sometimes\n', /^audit.fsync: must be always, never, or an interval/],
  ['  file: a\n  overflow: drop\n', /^audit.overflow: must be count or block/],
  ['  file: a\n  rotate: 100\n', /^audit.rotate: needs a unit/],
  ['  file: a\n  buffer: 1KiB\n', /^audit.buffer: is too small: 1MiB/],
  [
    `  file: a\n${CHECKPOINT.replace('[hsm-a]', '[hsm-x]')}`,
    /^audit.checkpoint.key.hsms\[0\]: there is no "hsm-x"/,
  ],
  [
    `  file: a\n${CHECKPOINT.replace('audit.pub', 'none.pub')}`,
    /public_key: .*none.pub: there is no such file/,
  ],
  [
    `  file: a\n${CHECKPOINT.replace('audit.pub', 'hsm.pin')}`,
    /public_key: .*hsm.pin holds no usable public key/,
  ],
  [
    `  file: a\n${CHECKPOINT.replace('audit.pub', 'audit.key')}`,
    /public_key: .*audit.key holds a private key/,
  ],
  [
    `  file: a\n${CHECKPOINT.replace('audit.pub', 'leaf.pem')}`,
    /public_key: is the key of .*leaf.pem: .*one of its own/,
  ],
])('%j is refused', async (text, expected) => {
  expect((await complaints(withAudit(text)))[0]).toMatch(expected)
})

test('a mistake has its line and column', async () => {
  const [problem] = await problems(withAudit('  file: audit.jsonl\n  keep: many\n'))

  expect(problem).toMatchObject({ line: GOOD.split('\n').length + 2, column: 9, path: 'audit.keep' })
})
