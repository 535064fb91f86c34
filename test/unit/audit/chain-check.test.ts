/** Whatever is done to a log, verify says what and where; by property: any byte of any line. */

import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { expect, test } from 'vitest'

import { Chain, type Head, jsonFields, NO_HEAD } from '../../../src/audit/chain.ts'
import { ChainCheck, type ChainSummary } from '../../../src/audit/chain-check.ts'
import { checkpointMessage } from '../../../src/audit/checkpoint-message.ts'
import { spkiFingerprint } from '../../../src/audit/key-use-record.ts'
import { ending, NO_HASH, recordHash } from '../../../src/audit/record.ts'
import { tornOf } from '../../../src/audit/tail.ts'

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

test('a sound log has no findings, and says how far it is signed for', () => {
  const { lines } = log()

  expect(check(lines)).toMatchObject({
    findings: [],
    records: 9,
    starts: 1,
    checkpoints: 2,
    covered: 7,
    uncovered: 0,
  })
})

test('any byte of any line that is changed is found', () => {
  const bytes = Buffer.from(log().lines.join(''))
  const unnoticed: number[] = []
  for (let at = 0; at < bytes.length; at++) {
    const changed = Buffer.from(bytes)
    // Bits of case and of digits: the changes that are easiest to overlook.
    changed[at] = (bytes[at] ?? 0) ^ (BITS[at % BITS.length] ?? 1)
    if (check(changed).findings.length === 0) unnoticed.push(at)
  }

  expect(unnoticed).toEqual([])
})

test('any byte that is cut off at the end is found, unless it is a whole record', () => {
  const { lines } = log()
  const bytes = Buffer.from(lines.join(''))
  const unnoticed = Array.from({ length: bytes.length - 1 }, (_, cut) => cut + 1).filter(
    (length) => check(bytes.subarray(0, length), UNSIGNED).findings.length === 0,
  )

  const ends = lines.map((_, index) => Buffer.byteLength(lines.slice(0, index + 1).join('')))
  expect(unnoticed).toEqual(ends.slice(0, -1))
})

test.each(Array.from({ length: 8 }, (_, index) => index))(
  'record %i + 1 removed, doubled, or exchanged with the next is found there',
  (index) => {
    const { lines } = log()
    const [line = '', next = ''] = lines.slice(index)

    const removed = check(lines.toSpliced(index, 1))
    expect(kinds(removed)).toContain('missing')
    expect(removed.findings[0]).toMatchObject({ line: index + 1 })

    const doubled = check(lines.toSpliced(index, 0, line))
    expect(kinds(doubled)).toEqual([index === 0 ? 'unanchored' : 'duplicated'])
    expect(doubled.findings[0]).toMatchObject({ line: index + 2 })

    const exchanged = check(lines.toSpliced(index, 2, next, line))
    expect(exchanged.findings.length).toBeGreaterThan(0)
    expect(exchanged.findings[0]?.line).toBeLessThanOrEqual(index + 2)
  },
)

test('one edit is one finding, on its line', () => {
  const { lines } = log()
  const edited = lines.with(3, (lines[3] ?? '').replace('"peer":"192.0.2.3"', '"peer":"192.0.2.9"'))

  expect(check(edited).findings).toMatchObject([{ kind: 'edited', line: 4 }])
})

test('a record that was replaced, with everything behind it chained anew, does not pass the checkpoints', () => {
  const { lines } = log()
  const edited = lines.with(3, (lines[3] ?? '').replace('"peer":"192.0.2.3"', '"peer":"192.0.2.9"'))

  expect(rechain(lines)).toEqual(lines)
  expect(kinds(check(rechain(edited)))).toEqual(['checkpoint', 'checkpoint'])
})

test('a checkpoint that another key has signed, or for another record, is found', () => {
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })

  expect(kinds(check(log().lines, { publicKey: other.publicKey }))).toEqual(['checkpoint', 'checkpoint'])
  expect(kinds(check(log(other.privateKey).lines))).toEqual(['checkpoint', 'checkpoint'])
})

test('whole records cut off at the end are found with a head that was noted before', () => {
  const { lines, heads } = log()
  const expectHead = heads[6]?.hash

  expect(check(lines, { expectHead }).findings).toEqual([])
  expect(kinds(check(lines.slice(0, 6), { expectHead }))).toEqual(['truncated'])
})

test('a beginning that is not there is found, unless the log says that it removed it', () => {
  const chain = new Chain({ seq: 100, hash: 'a'.repeat(64) })
  const signs = [chain.append('sign', ''), chain.append('sign', '')]

  expect(check(signs, UNSIGNED).findings).toMatchObject([{ kind: 'missing', line: 1 }])
  const tooFew = chain.append('rotation', '"removedThrough":99')
  expect(kinds(check([...signs, tooFew], UNSIGNED))).toEqual(['missing'])
  const enough = chain.append('rotation', '"removedThrough":100')
  const unsigned = [...signs, tooFew, enough]
  expect(check(unsigned, UNSIGNED).findings).toEqual([])
  expect(check(unsigned).findings).toMatchObject([
    { message: expect.stringContaining('no record that is signed for') },
    { kind: 'checkpoint' },
  ])
  const signed = chain.append('checkpoint', checkpointFields(chain.head, privateKey))
  expect(check([...unsigned, signed]).findings).toEqual([])
})

test('what a crash has torn is tolerated where the next start says so, and nowhere else', () => {
  const torn = '{"seq":3,"ti'
  const chain = new Chain(NO_HEAD)
  const before = [chain.append('start', ''), chain.append('sign', '')]
  const start = chain.append('start', jsonFields({ torn: tornOf(Buffer.from(torn)) }))

  expect(check([...before, `${torn}\n`, start], UNSIGNED)).toMatchObject({ findings: [], torn: 1 })
  expect(kinds(check([...before, `${torn}x\n`, start], UNSIGNED))).toEqual(['malformed'])
  expect(kinds(check([...before, `${torn}\n`, `${torn}\n`, start], UNSIGNED))).toEqual([
    'malformed',
    'malformed',
  ])
  expect(kinds(check([...before, torn], UNSIGNED))).toEqual(['malformed'])
})

test('a log without any checkpoint does not pass when there is a key to verify them with', () => {
  const chain = new Chain(NO_HEAD)
  const lines = [chain.append('start', ''), chain.append('stop', '')]

  expect(kinds(check(lines))).toEqual(['checkpoint'])
  expect(check(lines, UNSIGNED).findings).toEqual([])
})

/** Nine records: a start, five signatures with a checkpoint over the first four records, a stop, a checkpoint over it. */
function log(key = privateKey): { lines: string[]; heads: Head[] } {
  const chain = new Chain(NO_HEAD)
  const lines: string[] = []
  const heads: Head[] = []
  const append = (type: Parameters<Chain['append']>[0], fields: string): void => {
    lines.push(chain.append(type, fields))
    heads.push(chain.head)
  }
  const use = (n: number): string =>
    jsonFields({ reason: 'handshake', peer: `192.0.2.${n}`, serverName: 'müller.example' })
  append('start', jsonFields({ version: '0.1.0' }))
  for (const n of [1, 2, 3]) append('sign', use(n))
  const covered = chain.head
  append('sign', use(4))
  append('checkpoint', checkpointFields(covered, key))
  append('stop', '')
  const end = chain.head
  append('sign', jsonFields({ reason: 'checkpoint' }))
  append('checkpoint', checkpointFields(end, key))
  return { lines, heads }
}

function checkpointFields(covers: Head, key: KeyObject): string {
  const signature = sign('sha256', checkpointMessage(covers), key).toString('base64')
  const spkiSha256 = spkiFingerprint(publicKey.export({ format: 'der', type: 'spki' }))
  return jsonFields({
    covers,
    key: { uri: 'pkcs11:object=audit', spkiSha256 },
    scheme: 'ecdsa_secp256r1_sha256',
    signature,
  })
}

/** What a forger can do without the key: every hash anew, from the first line on. */
function rechain(lines: readonly string[]): string[] {
  let prev = NO_HASH
  return lines.map((line) => {
    const body = line.replace(/,"prev":".*$/s, `,"prev":"${prev}"`)
    prev = recordHash(body)
    return `${body}${ending(prev)}\n`
  })
}

function check(
  log: Buffer | readonly string[],
  options: { publicKey?: KeyObject | undefined; expectHead?: string | undefined } = {},
): ChainSummary {
  const chainCheck = new ChainCheck({ publicKey, expectHead: undefined, ...options })
  let rest = Buffer.isBuffer(log) ? log : Buffer.from(log.join(''))
  for (let number = 1; rest.length > 0; number++) {
    const end = rest.indexOf('\n')
    const bytes = end < 0 ? rest : rest.subarray(0, end)
    chainCheck.line('audit.jsonl', { bytes, number, whole: end >= 0 })
    rest = end < 0 ? Buffer.alloc(0) : rest.subarray(end + 1)
  }
  return chainCheck.end()
}

function kinds({ findings }: ChainSummary): string[] {
  return findings.map(({ kind }) => kind)
}

const UNSIGNED = { publicKey: undefined }
const BITS = [0x01, 0x20, 0x80]
