import { expect, test } from 'vitest'
import type { UpstreamOptions } from '../../../src/upstream/options.ts'
import { TcpUpstream } from '../../../src/upstream/tcp.ts'

const upstream = (...servers: readonly [host: string, port: number][]): TcpUpstream => {
  const options: UpstreamOptions = {
    name: 'db',
    servers: servers.map(([host, port]) => ({ scheme: 'tcp', host, port })),
    balance: 'round-robin',
    connectTimeoutMs: 1_000,
    responseTimeoutMs: 1_000,
    keepAliveMs: 1_000,
    connections: 1,
    idleTimeoutMs: 1_000,
    proxyHeader: undefined,
  }
  return new TcpUpstream(options)
}

test('IP addresses are there at once, in turn, with all others as fallbacks', () => {
  const db = upstream(['127.0.0.1', 1], ['::1', 2])

  const one = { host: '127.0.0.1', port: 1 }
  const two = { host: '::1', port: 2 }
  expect(db.addresses()).toEqual([one, two])
  expect(db.addresses()).toEqual([two, one])
})

test('a server that failed comes last, brackets or not', () => {
  for (const address of ['[::1]:1', '::1:1']) {
    const db = upstream(['::1', 1], ['127.0.0.1', 2])
    db.markFailed(address)

    expect(db.addresses()).toMatchObject([{ port: 2 }, { port: 1 }])
  }
})

test('a name is resolved once and then known', async () => {
  const db = upstream(['localhost', 5432])

  const [first, second] = await Promise.all([db.addresses(), db.addresses()])

  expect(first.map(({ host }) => host)).toContain('127.0.0.1')
  expect(second).toEqual(first)
  expect(db.addresses()).toEqual(first)
})

test('a name that does not resolve is left out, and alone it is an error', async () => {
  expect(await upstream(['nowhere.invalid', 1], ['127.0.0.1', 2]).addresses()).toEqual([
    { host: '127.0.0.1', port: 2 },
  ])
  await expect(upstream(['nowhere.invalid', 1]).addresses()).rejects.toMatchObject({
    code: 'ERR_UPSTREAM_NONE_AVAILABLE',
  })
})
