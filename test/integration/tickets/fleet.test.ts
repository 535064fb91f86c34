/**
 * Many nodes and one place, with a clock that runs through days: whatever key makes tickets anywhere is accepted
 * everywhere, two nodes that rotate at once end with one set, and nobody is needed for it.
 */

import { hash } from 'node:crypto'
import { mkdirSync, readdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { SigningService } from '../../../src/hsm/signing-service.ts'
import { FileStore } from '../../../src/tickets/file-store.ts'
import { rotate } from '../../../src/tickets/rotate.ts'
import { parseSealed } from '../../../src/tickets/sealed-set.ts'
import { SoftHsm } from '../../support/softhsm.ts'
import { Clock, HOUR_MS, hourly, keyIn, Node, wrappingService } from './support.ts'

const MINUTE_MS = 60_000
const softHsm = new SoftHsm()
let service: SigningService
let clock: Clock
let directory: string
let file: string
let places = 0
const nodes: Node[] = []

beforeAll(async () => {
  const token = softHsm.addToken('web')
  token.generateAesKey({ label: 'tickets', id: 'a1' })
  service = await wrappingService([token.hsmOptions()])
})
afterAll(async () => {
  await service?.close()
  softHsm.remove()
})
beforeEach(() => {
  clock = new Clock()
  directory = join(softHsm.directory, `place-${++places}`)
  mkdirSync(directory)
  file = join(directory, 'ticket-keys')
})
afterEach(async () => {
  for (const node of nodes.splice(0)) await node.keys.close()
})

describe('a fleet of nodes', () => {
  test('that all find nothing at the same instant ends with one set', async () => {
    const fleet = Array.from({ length: 6 }, () => add())

    await all(fleet)
    await all(fleet)

    const [first] = fleet.map((node) => node.first)
    expect(first).toBeDefined()
    expect(fleet.map((node) => node.first)).toEqual(Array(6).fill(first))
    expect(await total('sealgate_ticket_rotations_total', fleet)).toBe(1)
    expect(readdirSync(directory)).toEqual(['ticket-keys'])
  })

  test('that all find it due at the same instant ends with one set', async () => {
    const fleet = Array.from({ length: 6 }, () => add())
    await all(fleet)
    await all(fleet)
    for (let turn = 2; turn <= 5; turn++) {
      clock.pass(HOUR_MS)
      await all(fleet) // finds it due; each waits a little while of its own
      clock.pass(MINUTE_MS)

      await all(fleet)
      await all(fleet)

      expect(await total('sealgate_ticket_rotations_total', fleet)).toBe(turn)
      expect(new Set(fleet.map((node) => node.first)).size).toBe(1)
      expect(new Set(fleet.map((node) => [...node.accepted].join())).size).toBe(1)
    }
    expect(readdirSync(directory)).toEqual(['ticket-keys'])
  })

  test('with clocks four minutes apart accepts every ticket that any of them makes, for two days', async () => {
    const fleet = [-2, -1, 0, 1, 2].map((minutes) => add(clock.skewed(minutes * MINUTE_MS)))
    await all(fleet)
    await all(fleet)
    const firsts = new Set<string>()

    for (let minute = 0; minute < 2 * 24 * 60; minute += 2) {
      clock.pass(2 * MINUTE_MS)
      // Not all of them every time: somebody is always behind by a few minutes.
      for (const [index, node] of fleet.entries()) if ((minute / 2 + index) % 3 > 0) await node.look()
      for (const maker of fleet) {
        if (maker.first === undefined) throw new Error(`minute ${minute}: no key makes tickets`)
        firsts.add(maker.first)
        for (const node of fleet) expect(node.accepted.has(maker.first)).toBe(true)
      }
    }

    // A key an hour, and not one more.
    expect(firsts.size).toBeGreaterThanOrEqual(46)
    expect(firsts.size).toBeLessThanOrEqual(50)
  })

  test('opens the tickets of the two keys before, and zeroes what is older', async () => {
    const node = add()
    await node.look()
    const old = node.first ?? ''
    const bytes = [...node.given].find((key) => Buffer.from(key).toString('hex', 0, 16) === old)
    for (let hour = 1; hour <= 2; hour++) {
      await pass(node, HOUR_MS)
      expect(node.first).not.toBe(old)
      expect(node.accepted.has(old)).toBe(true)
    }

    await pass(node, HOUR_MS)

    expect(node.accepted.has(old)).toBe(false)
    expect(bytes?.every((byte) => byte === 0)).toBe(true)
  })

  test('zeroes every key when a node ends, after TLS has been told to forget them', async () => {
    const node = add()
    await node.look()
    expect([...node.given].some((key) => key.some((byte) => byte !== 0))).toBe(true)

    await node.keys.close()

    expect(node.accepted.size).toBe(0)
    expect([...node.given].every((key) => key.every((byte) => byte === 0))).toBe(true)
  })

  test('whose last writer died half way is held up for half a minute and no longer', async () => {
    const node = add()
    await node.look()
    const { first } = node
    await pass(node, HOUR_MS)
    expect(node.first).not.toBe(first)
    const store = new FileStore(file)
    const text = await store.read()
    // What a writer leaves behind that was killed between claim and rename.
    const claim = claimOf(text)
    writeFileSync(claim, '')

    expect(await store.replace(text, 'next\n')).toBe(false)
    await age(claim, 31)
    expect(await store.replace(text, 'next\n')).toBe(true)

    expect(await store.read()).toBe('next\n')
    expect(readdirSync(directory)).toEqual(['ticket-keys'])
  })
})

describe('a mounted Secret', () => {
  test('is never written to; somebody else rotates, and the nodes follow the turned link', async () => {
    const [a, b] = [add(), add()]
    await mount('nothing yet')
    await all([a, b])
    expect([a.problem, b.problem]).toEqual(['ERR_TICKETS_MALFORMED', 'ERR_TICKETS_MALFORMED'])

    await mount(await made('replace'))
    await all([a, b])
    expect(a.first).toBeDefined()
    expect(b.first).toBe(a.first)
    expect(a.keys.status().rotates).toBe('elsewhere')

    for (let hour = 0; hour < 5; hour++) {
      const before = a.first ?? ''
      clock.pass(HOUR_MS - 5 * MINUTE_MS)
      await all([a, b])
      expect(a.first).toBe(before)
      clock.pass(10 * MINUTE_MS)
      await a.look() // its turn has come with the clock: b has not looked, and accepts it all the same
      expect(a.first).not.toBe(before)
      expect(b.accepted.has(a.first ?? '')).toBe(true)
      await mount(await made('due'))
      await all([a, b])
      expect(b.first).toBe(a.first)
      expect(a.keys.status().keys?.[0]?.state).toBe('next')
      clock.pass(-5 * MINUTE_MS)
    }
    expect(readdirSync(directory).filter((name) => name.includes('claim') || name.includes('new'))).toEqual(
      [],
    )
  })

  test('that nobody renews is used until its dates are over, with a warning; then each node has its own keys', async () => {
    const node = add()
    await mount(await made('replace'))
    await node.look()
    const seen: (string | undefined)[] = []

    for (let hour = 0; hour < 5; hour++) {
      clock.pass(HOUR_MS - 1)
      await node.look()
      seen.push(node.first === undefined ? 'local' : 'shared')
      clock.pass(1)
    }

    // Two keys: the second has its turn after an hour and lives for three.
    expect(seen).toEqual(['shared', 'shared', 'shared', 'shared', 'local'])
    expect(node.warnings).toEqual([
      'undefined: shared ticket keys are stale: nobody rotates them, and they go on to be used until they expire',
      'undefined: ticket keys are local: sessions do not resume at other nodes',
    ])
  })
})

function add(now: () => number = clock.now): Node {
  const node = new Node({ store: new FileStore(file), key: keyIn(service, 'hsm-a'), now })
  nodes.push(node)
  return node
}

async function all(fleet: readonly Node[]): Promise<void> {
  await Promise.all(fleet.map((node) => node.look()))
}

/** So long, with a look at the end and one when its little while is over. */
async function pass(node: Node, ms: number): Promise<void> {
  clock.pass(ms)
  await node.look()
  clock.pass(MINUTE_MS)
  await node.look()
}

async function total(name: string, fleet: readonly Node[]): Promise<number> {
  const pages = await Promise.all(fleet.map((node) => node.metrics()))
  return pages.reduce((sum, page) => sum + page.sum(name), 0)
}

/** As the kubelet does it: a new directory, and `..data` turned to it in one step. */
async function mount(text: string): Promise<void> {
  const name = `..${++mounts}`
  mkdirSync(join(directory, name))
  writeFileSync(join(directory, name, 'ticket-keys'), text)
  symlinkSync(name, join(directory, '..data_tmp'))
  renameSync(join(directory, '..data_tmp'), join(directory, '..data'))
  if (!readdirSync(directory).includes('ticket-keys')) symlinkSync('..data/ticket-keys', file)
}
let mounts = 0

/** What `sealgate tickets rotate --out` would print. */
async function made(mode: 'due' | 'replace'): Promise<string> {
  const store = new FileStore(file)
  const place = { read: () => store.read(), replace: async () => true }
  const { text } = await rotate({
    store: place,
    key: keyIn(service, 'hsm-a'),
    schedule: hourly,
    mode,
    nowMs: clock.nowMs,
  })
  expect(parseSealed(text).keys.length).toBeGreaterThanOrEqual(2)
  return text
}

function claimOf(text: string | undefined): string {
  return `${file}.${hash('sha256', text ?? '').slice(0, 16)}.claim0`
}

async function age(path: string, seconds: number): Promise<void> {
  const then = Date.now() / 1000 - seconds
  await utimes(path, then, then)
}
