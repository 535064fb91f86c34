/**
 * Behind a balancer that speaks the PROXY protocol the client is whom the header names, and only where the configuration
 * says that a balancer is; a tcp server that asks for it is told the same of its connections.
 */

import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { listen, port } from '../integration/proxy/support/front-server.ts'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { PATIENCE } from '../support/patience.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl } from '../support/tools.ts'

const V1 = Buffer.from('PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n')
const V2 = Buffer.from('0d0a0d0a000d0a515549540a2111000cc0000207c63364019c4001bb', 'hex')
const LOCAL = Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex')

let site: Site
let upstream: TestUpstream
let database: Server
let sealgate: Sealgate

beforeAll(async () => {
  site = new Site()
  upstream = await startUpstream((request, response) => response.end(request.headers['x-forwarded-for']))
  database = await listen(createServer((socket) => socket.pipe(socket)))
  const address = '127.0.0.1:0'
  const behind = { proxy_protocol: { from: ['127.0.0.0/8'] } }
  const elsewhere = { proxy_protocol: { from: ['10.0.0.0/8', '2001:db8::/32'] } }
  const listeners = [
    { name: 'balanced', address, protocol: 'http', upstream: 'app', ...behind },
    { name: 'direct', address, protocol: 'http', upstream: 'app', ...elsewhere },
    { name: 'database', address, protocol: 'tcp', upstream: 'database', ...behind },
  ]
  const upstreams = {
    app: { servers: [`http://127.0.0.1:${upstream.port}`], keep_alive: '1s' },
    database: { servers: [`tcp://127.0.0.1:${port(database)}`], proxy_protocol: 'v2' },
  }
  sealgate = await startSealgate({ config: site.config([], { listeners, upstreams }) })
})

afterAll(async () => {
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  database?.close()
  site?.[Symbol.dispose]()
})

test('curl, speaking as a balancer, is served', async () => {
  const url = `https://localhost:${sealgate.port('balanced')}/`
  const { status, stdout } = await curl('--haproxy-protocol', '--cacert', site.ca, '--ipv4', url)
  expect({ status, stdout }).toEqual({ status: 0, stdout: '127.0.0.1' })
})

test.each([
  ['version 1', V1, '192.0.2.7'],
  ['version 2', V2, '192.0.2.7'],
  ['version 2, LOCAL', LOCAL, '127.0.0.1'],
])('a header of %s says who the client is', async (_, header, client) => {
  expect(await get('balanced', header)).toContain(client)
})

test('what comes without a header is closed, and the log says why', async () => {
  const { status } = await curl('--insecure', `https://localhost:${sealgate.port('balanced')}/`)
  expect(status).not.toBe(0)
  await vi.waitFor(() => expect(reasons()).toContain('no PROXY header'), PATIENCE)
})

test('where no balancer is, nobody can claim an address', async () => {
  await expect(get('direct', V1)).rejects.toThrow()
  expect(await get('direct', Buffer.alloc(0))).toContain('127.0.0.1')
})

test('a tcp server gets a header of its own, then the bytes of the client', async () => {
  const socket = await connected('database', V2)
  socket.write('hello')
  const received: Buffer[] = []
  socket.on('data', (chunk: Buffer) => received.push(chunk))
  await vi.waitFor(() => expect(Buffer.concat(received).toString('latin1')).toMatch(/hello$/), PATIENCE)
  socket.end()

  const header = Buffer.concat(received)
  // The client as the balancer told it, and where it reached us.
  expect(header.subarray(0, 14).toString('hex')).toBe('0d0a0d0a000d0a515549540a2111')
  expect(header.subarray(16, 24).toString('hex')).toBe('c00002077f000001')
  expect(header.readUInt16BE(14) + 16 + 'hello'.length).toBe(header.length)
  expect(header.toString('latin1')).toContain('localhost')
  expect(header.toString('latin1')).toContain('TLSv1.3')
})

function reasons(): unknown[] {
  return sealgate.lines.map(({ reason }) => reason)
}

async function get(listener: string, header: Buffer): Promise<string> {
  const socket = await connected(listener, header)
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk
  })
  await once(socket, 'end')
  return text
}

/** TLS behind a header, as through a balancer. */
async function connected(listener: string, header: Buffer): Promise<Socket> {
  const balancer = connect(sealgate.port(listener), '127.0.0.1')
  await once(balancer, 'connect')
  balancer.write(header)
  const socket = connectTls({ socket: balancer, servername: 'localhost', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  return socket
}
