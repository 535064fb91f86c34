/** In tcp mode the server name and the application protocol choose the upstream; what nobody takes is closed. */

import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { listen, port } from '../integration/proxy/support/front-server.ts'
import { PATIENCE } from '../support/patience.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { sClient } from '../support/tools.ts'

let site: Site
let servers: Record<'database' | 'broker', Server>
let sealgate: Sealgate

beforeAll(async () => {
  site = new Site()
  servers = { database: await saying('database'), broker: await saying('broker') }
  const upstreams = Object.fromEntries(
    Object.entries(servers).map(([name, server]) => [name, { servers: [`tcp://127.0.0.1:${port(server)}`] }]),
  )
  const routes = [
    { match: { server_name: '*.example.test', alpn: 'postgresql' }, upstream: 'database' },
    { match: { alpn: 'mqtt' }, upstream: 'broker' },
  ]
  const listener = {
    name: 'tcp',
    address: '127.0.0.1:0',
    protocol: 'tcp',
    alpn: ['postgresql', 'mqtt'],
    routes,
  }
  sealgate = await startSealgate({ config: site.config([], { upstreams, listeners: [listener] }) })
})

afterAll(async () => {
  await sealgate?.finish()
  for (const server of Object.values(servers ?? {})) server.close()
  site?.[Symbol.dispose]()
})

test.each([
  ['db.example.test', 'postgresql', 'database'],
  ['db.example.test', 'mqtt', 'broker'],
  ['localhost', 'mqtt', 'broker'],
])('%s with %s reaches the %s', async (servername, protocol, expected) => {
  const client = await open(servername, [protocol])
  expect(String((await once(client, 'data'))[0])).toBe(expected)
  await once(client, 'end')
})

test('a connection that no route takes is closed, and the log says what it asked for, and blames no server', async () => {
  const { stderr } = await sClient(sealgate.port('tcp'), ['-servername', 'localhost', '-alpn', 'postgresql'])
  expect(stderr).toContain('errno=104') // ECONNRESET: not an end that could be taken for an answer

  await vi.waitFor(() => {
    const line = sealgate.lines.find(({ msg }) => msg === 'no upstream')
    expect(line).toMatchObject({
      listener: 'tcp',
      code: 'ERR_REQUEST_NO_ROUTE',
      reason: 'no route takes a connection with server name "localhost" and protocol "postgresql"',
    })
    const ends = sealgate.lines.filter(({ msg, reason }) => msg === 'connection' && reason !== 'closed')
    expect(ends).toEqual([expect.objectContaining({ reason: 'no route' })])
  }, PATIENCE)
  const metrics = await sealgate.metrics()
  expect(metrics.sum('sealgate_tcp_connections_total', { result: 'no_route' })).toBe(1)
  expect(metrics.sum('sealgate_tcp_connections_total', { result: 'unreachable' })).toBe(0)
})

async function saying(word: string): Promise<Server> {
  return await listen(createServer((socket) => socket.end(word)))
}

async function open(servername: string, ALPNProtocols: string[]): Promise<TLSSocket> {
  const client = connect(sealgate.port('tcp'), '127.0.0.1', {
    servername,
    ALPNProtocols,
    rejectUnauthorized: false,
  })
  client.on('error', () => {})
  await once(client, 'secureConnect')
  return client
}
