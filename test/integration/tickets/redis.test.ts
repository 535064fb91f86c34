/** The place is a Redis: comparing and replacing is one step, and a connection that is lost comes back. */

import { readFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import type { SigningService } from '../../../src/hsm/signing-service.ts'
import type { RedisPlace } from '../../../src/tickets/options.ts'
import { RedisStore } from '../../../src/tickets/redis-store.ts'
import { MAX_SEALED_BYTES } from '../../../src/tickets/sealed-set.ts'
import { Redis } from '../../support/redis.ts'
import { SoftHsm } from '../../support/softhsm.ts'
import { Clock, HOUR_MS, keyIn, Node, wrappingService } from './support.ts'

const softHsm = new SoftHsm()
let service: SigningService
let redis: Redis
let clock: Clock
let key = 'tickets'
let keys = 0
const stores: RedisStore[] = []
const nodes: Node[] = []

beforeAll(async () => {
  const token = softHsm.addToken('web')
  token.generateAesKey({ label: 'tickets', id: 'a1' })
  service = await wrappingService([token.hsmOptions()])
  redis = await Redis.start(softHsm.directory, { tls: true })
})
afterAll(async () => {
  await service?.close()
  await redis?.stop()
  softHsm.remove()
})
beforeEach(() => {
  clock = new Clock()
  key = `tickets-${++keys}`
})
afterEach(async () => {
  for (const node of nodes.splice(0)) await node.keys.close()
  for (const store of stores.splice(0)) await store.close()
})

test('of many that replace the same set at once one succeeds', async () => {
  const many = Array.from({ length: 8 }, () => open())

  const created = await Promise.all(many.map((store, index) => store.replace(undefined, `first ${index}`)))
  const before = await many[0]?.read()
  const replaced = await Promise.all(many.map((store, index) => store.replace(before, `second ${index}`)))

  expect(created.filter(Boolean)).toHaveLength(1)
  expect(before).toBe(`first ${created.indexOf(true)}`)
  expect(replaced.filter(Boolean)).toHaveLength(1)
  expect(await redis.get(key)).toBe(`second ${replaced.indexOf(true)}`)
  expect(await many[0]?.replace('something else', 'third')).toBe(false)
})

test('nodes that all find it due at the same instant end with one set', async () => {
  const fleet = Array.from({ length: 5 }, () => add())
  for (let turn = 1; turn <= 4; turn++) {
    await Promise.all(fleet.map((node) => node.look()))
    clock.pass(60_000)
    await Promise.all(fleet.map((node) => node.look()))
    await Promise.all(fleet.map((node) => node.look()))

    expect(new Set(fleet.map((node) => [node.first, ...node.accepted].join())).size).toBe(1)
    const pages = await Promise.all(fleet.map((node) => node.metrics()))
    expect(pages.reduce((sum, page) => sum + page.sum('sealgate_ticket_rotations_total'), 0)).toBe(turn)
    clock.pass(HOUR_MS)
  }
})

test('no more is read than a set can have, whatever lies there', async () => {
  await redis.set(key, 'A'.repeat(2_000_000))
  const node = add()

  expect((await open().read())?.length).toBe(MAX_SEALED_BYTES + 1)
  await node.look()

  expect(node.problem).toBe('ERR_TICKETS_MALFORMED')
  expect(node.first).toBeUndefined()
})

test('a user that may only read leaves rotating to others', async () => {
  const reader = add({ username: 'reader' })
  await reader.look()
  expect(reader.problem).toBe('ERR_TICKETS_PLACE')
  await reader.look()
  expect(reader.problem).toBe('ERR_TICKETS_ABSENT')
  expect(reader.keys.status().rotates).toBe('elsewhere')

  const writer = add()
  await writer.look()
  await reader.look()

  expect(reader.first).toBe(writer.first)
  expect(reader.problem).toBeUndefined()
})

test('a wrong password is said without saying it, and the right one is taken at the next try', async () => {
  const wrong = 'not-the-password'
  let password = wrong
  const store = open({ password: { env: 'REDIS_PASSWORD' } }, () => password)

  const error: unknown = await store.read().catch((cause: unknown) => cause)

  expect(error).toMatchObject({ code: 'ERR_TICKETS_PLACE' })
  expect(String(error)).toContain('WRONGPASS')
  expect(JSON.stringify([String(error), error])).not.toContain(wrong)
  password = redis.password
  await vi.waitFor(async () => expect(await store.read()).toBeUndefined(), SOON)
})

test('rediss: the server is who its certificate says, or nothing is read or written', async () => {
  const { url, certificate } = redis.tls
  const ca = readFileSync(certificate, 'utf8')
  const good = open({ url, ca, serverName: 'redis.test' })
  expect(await good.replace(undefined, 'over TLS')).toBe(true)
  expect(await good.read()).toBe('over TLS')

  await expect(open({ url, ca, serverName: 'other.test' }).read()).rejects.toMatchObject({
    code: 'ERR_TICKETS_PLACE',
    message: expect.stringContaining("does not match certificate's altnames"),
  })
  await expect(open({ url, serverName: 'redis.test' }).read()).rejects.toMatchObject({
    message: expect.stringContaining('self-signed certificate'),
  })
})

test('a Redis that goes is missed but not needed, and taken up again when it is back', async () => {
  const [a, b] = [add(), add()]
  await a.look()
  await b.look()
  const { first } = a
  const text = await redis.get(key)

  await redis.stop()
  for (const node of [a, b]) {
    await vi.waitFor(async () => {
      await node.look()
      expect(node.problem).toBe('ERR_TICKETS_PLACE')
    }, SOON)
    expect(node.first).toBe(first)
  }
  expect(a.warnings).toEqual([
    'ERR_TICKETS_PLACE: shared ticket keys cannot be renewed; those from before are used',
  ])

  // It comes back empty: whoever is first puts there what is in use.
  await redis.start()
  await vi.waitFor(async () => {
    await a.look()
    expect(a.problem).toBeUndefined()
  }, SOON)
  await vi.waitFor(async () => {
    await b.look()
    expect([b.problem, b.first]).toEqual([undefined, first])
  }, SOON)
  expect(a.first).toBe(first)
  expect(await redis.get(key)).toBe(text)
})

test('a Redis that is away at the start is waited for, with the node’s own keys meanwhile', async () => {
  await redis.stop()
  const node = add()
  await node.look()
  expect(node.first).toBeUndefined()
  expect(node.warnings).toEqual([
    'ERR_TICKETS_PLACE: ticket keys are local: sessions do not resume at other nodes',
  ])

  await redis.start()

  await vi.waitFor(async () => {
    await node.look()
    expect(node.first).toBeDefined()
  }, SOON)
})

function open(
  place: Partial<RedisPlace> = {},
  environment: (name: string) => string | undefined = () => undefined,
): RedisStore {
  const store = new RedisStore({
    url: redis.url,
    key,
    username: undefined,
    password: { file: redis.passwordFile },
    ca: undefined,
    serverName: undefined,
    ...place,
    environment,
  })
  stores.push(store)
  return store
}

function add(place: Partial<RedisPlace> = {}): Node {
  const node = new Node({ store: open(place), key: keyIn(service, 'hsm-a'), now: clock.now })
  nodes.push(node)
  return node
}

const SOON = { timeout: 15_000, interval: 50 }
