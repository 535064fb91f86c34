/**
 * tcp mode: TLS in, bytes out. Both directions end by themselves, a server that refuses is passed over, and a
 * connection that nobody can serve, or on which nothing moves, is not left open.
 */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { closedPort, listen, port } from '../integration/proxy/support/front-server.ts'
import { PATIENCE } from '../support/patience.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { sClient } from '../support/tools.ts'

const MB = 1024 * 1024
const SIZE = 50 * MB

let site: Site
let sealgate: Sealgate
let servers: Record<'echo' | 'source' | 'question' | 'silent', Server>

beforeAll(async () => {
  site = new Site()
  servers = {
    echo: await serve((socket) => socket.pipe(socket)),
    source: await serve((socket) => socket.end(Buffer.alloc(SIZE, 'sealgate'))),
    question: await serve(answerAtEnd),
    silent: await serve((socket) => socket.resume()),
  }
  const dead = await closedPort()
  const upstreams = {
    echo: { servers: [at(port(servers.echo))] },
    source: { servers: [at(port(servers.source))] },
    question: { servers: [at(port(servers.question))] },
    silent: { servers: [at(port(servers.silent))], idle_timeout: '1s' },
    half: { servers: [at(dead), at(port(servers.echo))] },
    dead: { servers: [at(dead)] },
  }
  const listeners = Object.keys(upstreams).map((name) => {
    return { name, protocol: 'tcp', address: '127.0.0.1:0', upstream: name }
  })
  sealgate = await startSealgate({ config: site.config([], { upstreams, listeners }) })
})

afterAll(async () => {
  await sealgate?.finish()
  for (const server of Object.values(servers ?? {})) server.close()
  site?.[Symbol.dispose]()
})

test('bytes pass both ways while the connection is open', async () => {
  const client = await open('echo')
  for (const word of ['one', 'two', 'three']) {
    client.write(word)
    expect(String((await once(client, 'data'))[0])).toBe(word)
  }

  client.end()
  await once(client, 'end')
  await vi.waitFor(() => expect(closed('echo')).toHaveLength(1), PATIENCE)
  expect(closed('echo')[0]).toMatchObject({
    tlsVersion: 'TLSv1.3',
    upstream: `127.0.0.1:${port(servers.echo)}`,
    bytesReceived: 11,
    bytesSent: 11,
    reason: 'closed',
  })
})

test('a client that has ended still gets the answer', async () => {
  const client = await open('question')
  client.end('a question')

  expect(String(await readAll(client))).toBe('answer to: a question')
})

test('a server that has ended still gets what the client says', async () => {
  const heard: Buffer[] = []
  servers.source.once('connection', (socket: Socket) => socket.on('data', (chunk) => heard.push(chunk)))
  const client = await open('source', { allowHalfOpen: true })

  expect((await readAll(client)).length).toBe(SIZE)
  client.end('thanks')

  await vi.waitFor(() => expect(String(Buffer.concat(heard))).toBe('thanks'), PATIENCE)
})

test('50 MB go there and back unchanged', async () => {
  const client = await open('echo')
  const sent = Buffer.alloc(SIZE, '0123456789abcdefg')
  client.end(sent)

  expect((await readAll(client)).equals(sent)).toBe(true)
})

test('a client that does not read makes the server wait', async () => {
  const [client, [server]] = await Promise.all([open('source'), once(servers.source, 'connection')])
  client.pause()

  let last = -1
  await vi.waitFor(() => {
    const unsent = server.writableLength
    const steady = unsent === last
    last = unsent
    if (!steady) throw new Error('still sending')
  }, SLOW)
  expect(server.writableLength).toBeGreaterThan(SIZE / 2)

  client.resume()
  expect((await readAll(client)).length).toBe(SIZE)
})

test('the next server is tried when one refuses', async () => {
  for (let round = 0; round < 4; round++) {
    const client = await open('half')
    client.end('hello')
    expect(String(await readAll(client))).toBe('hello')
  }
  const refused = sealgate.lines.filter(({ msg }) => msg === 'upstream connect failed')
  expect(refused[0]).toMatchObject({ level: 'warn', reason: 'Connection refused' })
})

test('when every server refuses the client is reset, not closed as if it had been served', async () => {
  // Not Node as the client: what libuv reads together with a reset looks like a proper end there.
  const { stdout, stderr } = await sClient(sealgate.port('dead'), ['-CAfile', site.ca])

  expect(stderr).toMatch(/(read|write):errno=104/) // ECONNRESET
  expect(stdout).not.toMatch(/^closed$/m) // close_notify
  await vi.waitFor(
    () => expect(closed('dead')[0]).toMatchObject({ reason: 'upstream unreachable' }),
    PATIENCE,
  )
})

test('a connection on which nothing moves is reset after idle_timeout', async () => {
  const client = await open('silent')
  client.write('the last word')

  const [error] = await once(client, 'error')

  expect(error.code).toBe('ECONNRESET')
  await vi.waitFor(() => expect(closed('silent')).toHaveLength(1), PATIENCE)
  expect(closed('silent')[0]).toMatchObject({ reason: 'idle timeout' })
  expect(closed('silent')[0]?.['durationMs']).toBeGreaterThan(1000)
})

test('a server that resets resets the client', async () => {
  const [client, [server]] = await Promise.all([open('silent'), once(servers.silent, 'connection')])
  server.write('almost')
  await once(client, 'data')
  Reflect.get(server, '_handle').reset(() => server.destroy())

  const [error] = await once(client, 'error')
  expect(error.code).toBe('ECONNRESET')
})

async function open(listener: string, options: { allowHalfOpen?: boolean } = {}): Promise<TLSSocket> {
  const server = { host: '127.0.0.1', port: sealgate.port(listener), servername: 'localhost' }
  const client = connectTls({ ...server, ca: readFileSync(site.ca), ...options })
  await once(client, 'secureConnect')
  return client
}

async function readAll(client: TLSSocket): Promise<Buffer> {
  const chunks: Buffer[] = []
  client.on('data', (chunk) => chunks.push(chunk))
  await once(client, 'end')
  return Buffer.concat(chunks)
}

/** Log lines of connections of this listener that have ended. */
function closed(listener: string) {
  return sealgate.lines.filter((line) => line.msg === 'connection' && line['listener'] === listener)
}

function answerAtEnd(socket: Socket): void {
  let question = ''
  socket.setEncoding('utf8').on('data', (chunk) => {
    question += chunk
  })
  socket.on('end', () => socket.end(`answer to: ${question}`))
}

function serve(onConnection: (socket: Socket) => void): Promise<Server> {
  return listen(
    createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {})
      onConnection(socket)
    }),
  )
}

function at(serverPort: number): string {
  return `tcp://127.0.0.1:${serverPort}`
}

const SLOW = { timeout: 10_000, interval: 200 }
