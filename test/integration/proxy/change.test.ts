/** Settings of the HTTP side change between two requests, on connections that are open. */

import { Agent, request } from 'node:http'
import type { Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { HttpFrontState } from '../../../src/proxy/front.ts'
import type { HttpListenerOptions } from '../../../src/proxy/options.ts'
import { type FrontServer, startFront, upstreamOptions } from './support/front-server.ts'
import { startUpstream, type TestUpstream } from './support/upstreams.ts'

let one: TestUpstream
let two: TestUpstream
let server: FrontServer
let agent: Agent

beforeEach(async () => {
  one = await startUpstream((request, response) => response.end(JSON.stringify(['one', request.headers])))
  two = await startUpstream((request, response) => response.end(JSON.stringify(['two', request.headers])))
  server = await startFront({ upstreams: { app: [one.port] } })
  agent = new Agent({ keepAlive: true, maxSockets: 1 })
})

afterEach(async () => {
  agent.destroy()
  await server[Symbol.asyncDispose]()
  await one[Symbol.asyncDispose]()
  await two[Symbol.asyncDispose]()
})

test('the servers of an upstream change, and the connections to the old ones end', async () => {
  const first = await ask()
  server.front.change(state({}, two))
  const second = await ask()

  expect([first.by, second.by]).toEqual(['one', 'two'])
  expect(second.from).toBe(first.from)
  await expect.poll(() => openConnections(one), { timeout: 10_000 }).toBe(0)
  expect(await openConnections(two)).toBe(1)
})

test('an upstream that is as before keeps its connections', async () => {
  await ask()
  const sockets = new Set<Socket>()
  one.server.on('connection', (socket) => sockets.add(socket))

  server.front.change(state({}, one))
  await ask()

  expect(sockets.size).toBe(0)
})

test('a header that becomes ours is removed from requests of open connections', async () => {
  const before = await ask({ 'X-Client-Subject': 'CN=mallory' })
  server.front.change(state({ reservedFields: ['x-client-subject'] }, one))
  const after = await ask({ 'X-Client-Subject': 'CN=mallory' })

  expect(before.headers['x-client-subject']).toBe('CN=mallory')
  expect(after.headers['x-client-subject']).toBeUndefined()
  expect(after.from).toBe(before.from)
})

test('a smaller limit of headers holds for new connections, and open ones keep theirs', async () => {
  const large = { 'X-Large': 'x'.repeat(8_000) }
  const before = await ask(large)
  server.front.change(state({ maxHeaderBytes: 4_096 }, one))
  const after = await ask(large)
  using fresh = disposable(new Agent({ keepAlive: true }))

  expect([before.status, after.status]).toEqual([200, 200])
  expect(after.from).toBe(before.from)
  expect((await ask(large, fresh.agent)).status).toBe(431)
  expect((await ask({}, fresh.agent)).status).toBe(200)
})

test('hosts that the certificates have no more are misdirected from the next request on', async () => {
  const host = { Host: 'other.test' }
  server.front.change(state({}, one, [['example.com', 'other.test']]))
  const before = await ask(host)
  server.front.change(state({}, one, [['example.com']]))
  const after = await ask(host)

  expect([before.status, after.status]).toEqual([200, 421])
})

/** What the server has, but for these. */
function state(
  listener: Partial<HttpListenerOptions>,
  upstream: TestUpstream,
  certificateNames?: readonly (readonly string[])[],
): HttpFrontState {
  const http = {
    name: 'web',
    routes: [{ host: undefined, path: undefined, upstream: 'app' }],
    maxHeaderBytes: 16 * 1024,
    headerTimeoutMs: 5_000,
    keepAliveMs: 30_000,
    ...listener,
  }
  return {
    listeners: [{ id: 1, http, ...(certificateNames && { certificateNames }) }],
    upstreams: [upstreamOptions('app', [upstream.port])],
    log: undefined,
  }
}

interface Answer {
  readonly status: number
  /** Which upstream. */
  readonly by: string | undefined
  /** As it came there. */
  readonly headers: Readonly<Record<string, string>>
  /** The client's port: the same one is the same connection. */
  readonly from: number
}

function ask(headers: Readonly<Record<string, string>> = {}, through: Agent = agent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { port: server.http1Port, agent: through, headers: { Host: 'example.com', ...headers } }
    const asked = request(options, (response) => {
      const from = response.socket.localPort ?? 0
      const status = response.statusCode ?? 0
      let body = ''
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text
      })
      response.on('end', () => {
        const [by, seen] = status === 200 ? JSON.parse(body) : [undefined, {}]
        resolve({ status, by, headers: seen, from })
      })
    })
    asked.on('error', reject).end()
  })
}

function openConnections({ server }: TestUpstream): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)))
  })
}

function disposable(agent: Agent): Disposable & { readonly agent: Agent } {
  return { agent, [Symbol.dispose]: () => agent.destroy() }
}
