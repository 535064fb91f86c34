/** Connections in tcp mode while the resolver is slow, dead or of two minds. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { TcpUpstream } from '../../../src/upstream/tcp.ts'

const { lookup } = vi.hoisted(() => ({
  lookup: vi.fn<(name: string) => Promise<{ address: string; family: number }[]>>(),
}))
vi.mock('node:dns/promises', () => ({ lookup }))

/** Addresses by name; a name that is not there fails after a second, as a dead resolver has it. */
const names = new Map<string, string>()
const asked: string[] = []

beforeEach(() => {
  vi.useFakeTimers()
  asked.length = 0
  names.clear()
  lookup.mockImplementation(async (name) => {
    asked.push(name)
    const address = names.get(name)
    if (address !== undefined) return [{ address, family: 4 }]
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    throw new Error('EAI_AGAIN')
  })
})
afterEach(() => {
  vi.useRealTimers()
})

const upstream = (...hosts: readonly string[]): TcpUpstream =>
  new TcpUpstream({
    name: 'db',
    servers: hosts.map((host) => ({ scheme: 'tcp', host, port: 1 })),
    balance: 'round-robin',
    connectTimeoutMs: 1_000,
    responseTimeoutMs: 1_000,
    keepAliveMs: 1_000,
    connections: 1,
    idleTimeoutMs: 1_000,
    proxyHeader: undefined,
  })

test('nobody waits for a dead name beside an address', async () => {
  const db = upstream('gone.example', '10.0.0.1')

  for (let i = 0; i < 3; i++) expect(db.addresses()).toEqual([{ host: '10.0.0.1', port: 1 }])
  await vi.advanceTimersByTimeAsync(4_000)
  db.addresses()
  expect(asked).toHaveLength(1)

  await vi.advanceTimersByTimeAsync(3_000)
  db.addresses()
  expect(asked).toHaveLength(2)
})

test('nor beside a name that resolves, from the first connection on', async () => {
  names.set('db.example', '10.0.0.2')

  expect(await upstream('gone.example', 'db.example').addresses()).toEqual([{ host: '10.0.0.2', port: 1 }])
})

test('an old address serves while it is asked for again, and when the resolver fails', async () => {
  names.set('db.example', '10.0.0.2')
  const db = upstream('db.example')
  const before = await db.addresses()

  names.set('db.example', '10.0.0.3')
  await vi.advanceTimersByTimeAsync(6_000)
  expect(db.addresses()).toEqual(before)
  await vi.advanceTimersByTimeAsync(0)
  expect(db.addresses()).toEqual([{ host: '10.0.0.3', port: 1 }])

  names.clear()
  await vi.advanceTimersByTimeAsync(10_000)
  expect(db.addresses()).toEqual([{ host: '10.0.0.3', port: 1 }])
})

test('a failure is remembered for a while, and then the name is asked for again', async () => {
  const db = upstream('gone.example')
  const refused = { code: 'ERR_UPSTREAM_NONE_AVAILABLE' }

  const first = expect(db.addresses()).rejects.toMatchObject(refused)
  await vi.advanceTimersByTimeAsync(1_000)
  await first
  await expect(db.addresses()).rejects.toMatchObject(refused)
  expect(asked).toHaveLength(1)

  names.set('gone.example', '10.0.0.4')
  await vi.advanceTimersByTimeAsync(5_000)
  expect(await db.addresses()).toEqual([{ host: '10.0.0.4', port: 1 }])
})
