/**
 * Whatever lies in the place of the shared keys, a node goes on: with the keys it holds, or its own. It says what is wrong
 * in log, status and metric, overwrites nothing that may be somebody's, and takes up the good set when that comes.
 */

import { execFileSync } from 'node:child_process'
import { hash } from 'node:crypto'
import { mkdirSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { SigningService } from '../../../src/hsm/signing-service.ts'
import { FileStore } from '../../../src/tickets/file-store.ts'
import { freshSet, type KeySet } from '../../../src/tickets/key-set.ts'
import { MAX_SEALED_BYTES, seal } from '../../../src/tickets/sealed-set.ts'
import { SoftHsm } from '../../support/softhsm.ts'
import { Clock, HOUR_MS, hourly, KEY_URI, keyIn, Node, wrappingService } from './support.ts'

const softHsm = new SoftHsm()
let service: SigningService
let foreign: SigningService
let good: string
let other: string
let clock: Clock
let file: string
let node: Node
let places = 0

beforeAll(async () => {
  const [token, stranger] = [softHsm.addToken('web'), softHsm.addToken('stranger')]
  for (const each of [token, stranger]) each.generateAesKey({ label: 'tickets', id: 'a1' })
  service = await wrappingService([token.hsmOptions()])
  foreign = await wrappingService([stranger.hsmOptions()])
})
afterAll(async () => {
  await service?.close()
  await foreign?.close()
  softHsm.remove()
})
beforeEach(async () => {
  clock = new Clock()
  const directory = join(softHsm.directory, `place-${++places}`)
  mkdirSync(directory)
  file = join(directory, 'ticket-keys')
  good = await sealed(freshSet(hourly, clock.nowMs))
  other = await sealed(freshSet(hourly, clock.nowMs))
  node = new Node({ store: new FileStore(file), key: keyIn(service, 'hsm-a'), now: clock.now })
})
afterEach(() => node.keys.close())

const HEADER = 'sealgate ticket keys 1'
const BAD: readonly (readonly [string, () => string | Promise<string>, string])[] = [
  ['nothing', () => '\n', 'ERR_TICKETS_MALFORMED'],
  ['somebody else’s file', () => '{"hello":"world"}\n', 'ERR_TICKETS_MALFORMED'],
  ['binary garbage', () => '\0\x01\ufffd\n'.repeat(50), 'ERR_TICKETS_MALFORMED'],
  ['a set of a version to come', () => good.replace('keys 1', 'keys 2'), 'ERR_TICKETS_MALFORMED'],
  ['a set without its last byte', () => good.slice(0, -1), 'ERR_TICKETS_MALFORMED'],
  ['a set cut off in its body', () => good.slice(0, -40), 'ERR_TICKETS_MALFORMED'],
  ['a set cut off in its header', () => good.slice(0, 60), 'ERR_TICKETS_MALFORMED'],
  ['a set with something behind it', () => `${good}\n`, 'ERR_TICKETS_MALFORMED'],
  ['more than a set can be', () => good + 'A'.repeat(MAX_SEALED_BYTES), 'ERR_TICKETS_MALFORMED'],
  ['a header that is no JSON', () => `${HEADER}\nno\n${lines(good)[2]}\n`, 'ERR_TICKETS_MALFORMED'],
  ['a header with more in it', () => edited((header) => ({ ...header, more: 1 })), 'ERR_TICKETS_MALFORMED'],
  ['a header without keys', () => edited((header) => ({ ...header, keys: [] })), 'ERR_TICKETS_MALFORMED'],
  [
    'dates in the wrong order',
    () => edited(({ keys, ...rest }) => ({ ...rest, keys: keys.toReversed() })),
    'ERR_TICKETS_MALFORMED',
  ],
  [
    'a set for another key',
    () => edited((header) => ({ ...header, key: 'pkcs11:object=others' })),
    'ERR_TICKETS_OTHER_KEY',
  ],
  [
    'a set wrapped by another key of that name',
    () => seal(freshSet(hourly, clock.nowMs), keyIn(foreign, 'hsm-a')),
    'ERR_HSM_UNWRAP',
  ],
  [
    'a set with a later date',
    () =>
      edited(({ keys, ...rest }) => ({
        ...rest,
        keys: keys.map((key) => ({ ...key, until: '2030-01-01T00:00:00.000Z' })),
      })),
    'ERR_HSM_UNWRAP',
  ],
  [
    'the header of one set on the body of another',
    () => [lines(good)[0], lines(good)[1], lines(other)[2], ''].join('\n'),
    'ERR_HSM_UNWRAP',
  ],
  ['a set with one bit turned', () => flipped(good), 'ERR_HSM_UNWRAP'],
  [
    'a body with a tag and nothing else',
    () => [lines(good)[0], lines(good)[1], Buffer.alloc(29, 12).toString('base64'), ''].join('\n'),
    'ERR_HSM_REFUSED',
  ],
  ['a set that is sealed, with other names than its keys have', () => misnamed(), 'ERR_TICKETS_MALFORMED'],
  ['a set that is sealed, with more keys than it says', () => undercounted(), 'ERR_TICKETS_MALFORMED'],
  ['a set from tomorrow', () => sealed(freshSet(hourly, clock.nowMs + 24 * HOUR_MS)), 'ERR_TICKETS_DATES'],
]

describe('a node that finds', () => {
  test.each(BAD)('%s has its own keys and says so; then it takes the good set', async (_, make, code) => {
    const bad = await make()
    writeFileSync(file, bad)

    await node.look()

    expect(node.first).toBeUndefined()
    expect(node.accepted).toEqual(new Set())
    expect(node.problem).toBe(code)
    expect(node.warnings).toEqual([`${code}: ticket keys are local: sessions do not resume at other nodes`])
    expect((await node.metrics()).sum('sealgate_ticket_errors_total', { reason: code })).toBe(1)
    expect(await new FileStore(file).read()).toBe(bad.slice(0, MAX_SEALED_BYTES + 1))
    writeFileSync(file, good)
    await node.look()
    expect(node.first).toBe(namesIn(good)[1])
    expect(node.problem).toBeUndefined()
    expect(node.lines.at(-1)).toMatchObject({ level: 'info', msg: 'shared ticket keys are in use' })
  })

  test.each(BAD)('%s, after a good set, goes on with that', async (_, make, code) => {
    writeFileSync(file, good)
    await node.look()
    writeFileSync(file, await make())

    await node.look()

    expect(node.first).toBe(namesIn(good)[1])
    expect(node.problem).toBe(code)
    expect(node.warnings).toEqual([
      `${code}: shared ticket keys cannot be renewed; those from before are used`,
    ])
  })

  test('an older set than it has, as from a backup, goes on with the newer one', async () => {
    clock.pass(1000)
    const newer = await sealed(freshSet(hourly, clock.nowMs))
    writeFileSync(file, newer)
    await node.look()
    writeFileSync(file, good)

    await node.look()

    expect(node.problem).toBe('ERR_TICKETS_OLDER')
    expect(node.first).toBe(namesIn(newer)[1])
  })

  test('only keys that have expired, where it may not write, has its own', async () => {
    mkdirSync(join(file, '..', '..data'))
    writeFileSync(file, good)
    clock.pass(5 * HOUR_MS)

    await node.look()

    expect(node.problem).toBe('ERR_TICKETS_DATES')
    expect(node.first).toBeUndefined()
  })

  test('only keys that have expired, where it may write, makes new ones', async () => {
    writeFileSync(file, good)
    clock.pass(5 * HOUR_MS)

    await node.look()

    expect(node.problem).toBeUndefined()
    const text = (await new FileStore(file).read()) ?? ''
    expect(namesIn(text)).not.toEqual(namesIn(good))
    expect(node.first).toBe(namesIn(text)[1])
  })

  test('nothing, where it may not write, has its own', async () => {
    mkdirSync(join(file, '..', '..data'))

    await node.look()

    expect(node.problem).toBe('ERR_TICKETS_ABSENT')
  })

  test('no directory has its own', async () => {
    const store = new FileStore(join(softHsm.directory, 'nowhere', 'ticket-keys'))
    await using lost = disposable(new Node({ store, key: keyIn(service, 'hsm-a'), now: clock.now }))

    await lost.node.look()

    expect(lost.node.problem).toBe('ERR_TICKETS_PLACE')
    expect(lost.node.first).toBeUndefined()
  })
})

test('the HSM is not asked again for what it would not open, until a while has passed', async () => {
  writeFileSync(file, flipped(good))
  let asked = 0
  const key = keyIn(service, 'hsm-a')
  const counting = {
    uri: key.uri,
    wrap: key.wrap.bind(key),
    unwrap: (header: Uint8Array, wrapped: Uint8Array) => {
      asked++
      return key.unwrap(header, wrapped)
    },
  }
  await using other = disposable(new Node({ store: new FileStore(file), key: counting, now: clock.now }))

  for (let look = 0; look < 5; look++) await other.node.look()
  expect(asked).toBe(1)
  clock.pass(61_000)
  await other.node.look()

  expect(asked).toBe(2)
})

function sealed(set: KeySet): Promise<string> {
  return seal(set, keyIn(service, 'hsm-a'))
}

interface Header {
  readonly key: string
  readonly created: string
  readonly keys: readonly { readonly name: string; readonly from: string; readonly until: string }[]
}

function edited(edit: (header: Header) => object): string {
  const [first, header = '', body] = lines(good)
  return [first, JSON.stringify(edit(JSON.parse(header))), body, ''].join('\n')
}

async function misnamed(): Promise<string> {
  const set = freshSet(hourly, clock.nowMs)
  const text = edited((header) => header)
  const header = Buffer.from(text.split('\n').slice(0, 2).join('\n').concat('\n'))
  const secrets = Buffer.concat(set.keys.map(({ secret }) => secret))
  return `${header}${(await keyIn(service, 'hsm-a').wrap(header, secrets)).toString('base64')}\n`
}

async function undercounted(): Promise<string> {
  const [first, header = ''] = lines(good)
  const { keys, ...rest }: Header = JSON.parse(header)
  const short = Buffer.from(`${first}\n${JSON.stringify({ ...rest, keys: keys.slice(1) })}\n`)
  const secrets = Buffer.concat(freshSet(hourly, clock.nowMs).keys.map(({ secret }) => secret))
  return `${short}${(await keyIn(service, 'hsm-a').wrap(short, secrets)).toString('base64')}\n`
}

function flipped(text: string): string {
  const [first, header, body = ''] = lines(text)
  const bytes = Buffer.from(body, 'base64')
  bytes[40] = (bytes[40] ?? 0) ^ 1
  return [first, header, bytes.toString('base64'), ''].join('\n')
}

function lines(text: string): readonly string[] {
  return text.split('\n')
}

function namesIn(text: string): readonly string[] {
  const header: Header = JSON.parse(lines(text)[1] ?? '')
  expect(header.key).toBe(KEY_URI)
  return header.keys.map(({ name }) => name)
}

function disposable(node: Node): AsyncDisposable & { readonly node: Node } {
  return { node, [Symbol.asyncDispose]: () => node.keys.close() }
}

test('the problem that is told is the one of now', async () => {
  const moved = `${file}.moved`
  writeFileSync(file, flipped(good))
  await node.look()
  expect(node.problem).toBe('ERR_HSM_UNWRAP')

  renameSync(file, moved)
  mkdirSync(file)
  await node.look()
  expect(node.keys.status().problem?.message).toContain('it is not a regular file')
  rmdirSync(file)
  renameSync(dirname(file), `${dirname(file)}-away`)
  await node.look()
  // Another reason for the same code.
  expect(node.keys.status().problem?.message).toContain('ENOENT')
  renameSync(`${dirname(file)}-away`, dirname(file))
  renameSync(moved, file)
  await node.look()

  expect(node.problem).toBe('ERR_HSM_UNWRAP')
})

test('a place that was lost while somebody else claims it is looked at again later, not at once and for ever', async () => {
  writeFileSync(file, good)
  await node.look()
  rmSync(file)
  writeFileSync(`${file}.${hash('sha256', '').slice(0, 16)}.claim0`, '')

  const startedMs = performance.now()
  await node.look()

  expect(performance.now() - startedMs).toBeLessThan(5000)
  expect(node.first).toBe(namesIn(good)[1])
})

test('a place that does not answer keeps nobody from the next key, nor from ending', async () => {
  writeFileSync(file, good)
  await node.look()
  const [next] = namesIn(good)
  clock.pass(HOUR_MS)
  away.path = file
  const second = new Node({ store: new FileStore(file), key: keyIn(service, 'hsm-a'), now: clock.now })

  try {
    await Promise.all([node.look(), second.look()])
    await node.look()

    expect(node.first).toBe(next)
    expect([node.problem, second.problem]).toEqual(['ERR_TICKETS_PLACE', 'ERR_TICKETS_PLACE'])
    expect(node.keys.status().problem?.message).toMatch(/has not answered for \d+ s/)
    await second.keys.close()
  } finally {
    away.path = undefined
    for (const answer of away.waiting.splice(0)) answer()
  }
})

test('a FIFO in its place keeps nobody waiting, and says that it is no file', async () => {
  execFileSync('mkfifo', [file])
  const startedMs = performance.now()

  await node.look()

  expect(performance.now() - startedMs).toBeLessThan(2000)
  expect(node.keys.status().problem).toMatchObject({
    code: 'ERR_TICKETS_PLACE',
    message: `the shared ticket keys in ${file} cannot be read: it is not a regular file`,
  })
})

/** A server of files that is gone: whoever opens this path waits until it is back. */
const away = vi.hoisted(() => ({ path: undefined as string | undefined, waiting: [] as (() => void)[] }))
vi.mock('node:fs/promises', async (load) => {
  const real = await load<typeof import('node:fs/promises')>()
  const open: typeof real.open = async (path, ...rest) => {
    if (path === away.path) await new Promise<void>((resolve) => away.waiting.push(resolve))
    return real.open(path, ...rest)
  }
  return { ...real, open }
})
