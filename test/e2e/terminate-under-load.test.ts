/**
 * TERM while clients ask as fast as they can. What was accepted is answered: a request on a connection that had been
 * made is answered in full, unless the proxy had said before that it would be the last. Only new connections are
 * refused, once the listening sockets are closed. A second TERM does not wait.
 */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { connect as connectHttp2, constants } from 'node:http2'
import { Agent, request as httpsRequest } from 'node:https'
import { createServer } from 'node:net'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { listen, port } from '../integration/proxy/support/front-server.ts'
import { startUpstream } from '../integration/proxy/support/upstreams.ts'
import { descendants, untilEnded } from '../support/process-tree.ts'
import { startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl, sClient } from '../support/tools.ts'

const CLIENTS = 20
const BODY = 'x'.repeat(20_000)

let site: Site

beforeAll(() => {
  site = new Site()
})

afterAll(() => site?.[Symbol.dispose]())

test('every request on an accepted connection is answered in full, and the process ends with 0', async () => {
  await using upstream = await startUpstream((_request, response) => {
    setTimeout(() => response.end(BODY), 20)
  })
  await using sealgate = await startSealgate({ config: site.config([upstream.port]) })
  const children = descendants(sealgate.pid)
  const clients = Array.from({ length: CLIENTS }, () => askUntilRefused(sealgate.port()))
  await vi.waitFor(() => expect(upstream.requests.length).toBeGreaterThan(5 * CLIENTS), WAIT)

  sealgate.signal('SIGTERM')
  const outcomes = await Promise.all(clients)

  expect(await sealgate.ended).toEqual({ status: 0, signal: null })
  await untilEnded(children, WAIT.timeout)
  expect(outcomes.filter(({ reason }) => reason !== 'connect refused')).toEqual([])
  expect(Math.min(...outcomes.map(({ answered }) => answered))).toBeGreaterThan(1)
  expect(sealgate.requests().filter(({ aborted, status }) => aborted === true || status !== 200)).toEqual([])
  expect(sealgate.stderr).toBe('')
})

test('while a request is open the proxy drains: not ready, refuses new connections, finishes the old one', async () => {
  const open: ServerResponse[] = []
  await using upstream = await startUpstream((_request, response) => {
    response.write('begin ')
    open.push(response)
  })
  const address = '127.0.0.1:0'
  const listeners = [
    { name: 'web', protocol: 'http', address, upstream: 'app' },
    { name: 'plain', protocol: 'redirect', address },
  ]
  await using sealgate = await startSealgate({ config: site.config([upstream.port], { listeners }) })
  const slow = curl('--cacert', site.ca, sealgate.url())
  await vi.waitFor(() => expect(open).toHaveLength(1), WAIT)

  sealgate.signal('SIGTERM')
  await vi.waitFor(async () => expect((await sealgate.admin('/readyz'))?.status).toBe(503), WAIT)
  expect((await sealgate.admin('/readyz'))?.text).toContain('draining')
  expect((await sealgate.admin('/healthz'))?.status).toBe(200)
  await vi.waitFor(
    async () => expect((await curl('--cacert', site.ca, sealgate.url())).status).toBe(REFUSED),
    WAIT,
  )
  expect((await curl(`http://localhost:${sealgate.port('plain')}/`)).status).toBe(REFUSED)
  open[0]?.end('end')

  expect(await slow).toMatchObject({ status: 0, stdout: 'begin end' })
  expect(await sealgate.ended).toEqual({ status: 0, signal: null })
})

test('idle connections of both protocols do not hold up the end', async () => {
  await using upstream = await startUpstream((_request, response) => response.end('served'))
  await using sealgate = await startSealgate({
    config: site.config([upstream.port], { drain_timeout: '1m' }),
  })
  const ca = readFileSync(site.ca)
  const agent = new Agent({ keepAlive: true, ca })
  const session = connectHttp2(sealgate.url(), { ca })
  const goaway = once(session, 'goaway')
  await ask(sealgate.port(), agent)
  await once(session.request({ ':path': '/' }).resume(), 'end')
  await vi.waitFor(async () => {
    expect((await sealgate.metrics()).sum('sealgate_connections_open', { state: 'active' })).toBe(2)
  }, WAIT)

  sealgate.signal('SIGTERM')

  expect(await sealgate.ended).toEqual({ status: 0, signal: null })
  expect((await goaway)[0]).toBe(constants.NGHTTP2_NO_ERROR)
  agent.destroy()
  session.destroy()
})

test('at the drain timeout what is still open is cut off, and the log says how much', async () => {
  await using upstream = await startUpstream((_request, response) => void response.write('endless'))
  await using sealgate = await startSealgate({
    config: site.config([upstream.port], { drain_timeout: '300ms' }),
  })
  const endless = curl('--http1.1', '--cacert', site.ca, sealgate.url())
  await vi.waitFor(() => expect(upstream.requests).toHaveLength(1), WAIT)

  sealgate.signal('SIGTERM')

  expect(await sealgate.ended).toEqual({ status: 0, signal: null })
  expect((await endless).status).not.toBe(0)
  const line = sealgate.lines.find(({ msg }) => msg?.startsWith('drain timeout'))
  expect(line).toMatchObject({ level: 'warn', connections: 1 })
  const request = sealgate.lines.find(({ requestId }) => requestId !== undefined)
  expect(request).toMatchObject({ aborted: true, reason: 'the proxy stopped before the end' })
})

test('a second TERM stops now, with the status a shell shows for it', async () => {
  await using upstream = await startUpstream((_request, response) => void response.write('endless'))
  await using sealgate = await startSealgate({
    config: site.config([upstream.port], { drain_timeout: '1m' }),
  })
  const children = descendants(sealgate.pid)
  const endless = curl('--cacert', site.ca, sealgate.url())
  await vi.waitFor(() => expect(upstream.requests).toHaveLength(1), WAIT)

  sealgate.signal('SIGTERM')
  await sealgate.logged('draining')
  sealgate.signal('SIGTERM')

  expect(await sealgate.ended).toEqual({ status: 128 + 15, signal: null })
  expect(sealgate.lines).toContainEqual(expect.objectContaining({ code: 'ERR_REQUEST_ABORTED' }))
  await untilEnded(children, WAIT.timeout)
  expect((await endless).status).not.toBe(0)
})

test('a tcp connection that a stop cuts off has its line in the log, and its client no clean end', async () => {
  const server = await listen(createServer((socket) => socket.on('error', () => {}).write('endless')))
  const upstream = `tcp://127.0.0.1:${port(server)}`
  await using sealgate = await startSealgate({
    config: site.config([], {
      upstreams: { db: { servers: [upstream] } },
      listeners: [{ name: 'db', protocol: 'tcp', address: '127.0.0.1:0', upstream: 'db' }],
      drain_timeout: '300ms',
    }),
  })
  const endless = sClient(sealgate.port('db'), ['-CAfile', site.ca])
  await once(server, 'connection')

  sealgate.signal('SIGTERM')

  expect(await sealgate.ended).toEqual({ status: 0, signal: null })
  expect((await endless).stderr).toMatch(/(read|write):errno=104/) // ECONNRESET
  const ends = sealgate.lines.filter(({ msg }) => msg === 'connection')
  expect(ends).toEqual([
    expect.objectContaining({
      listener: 'db',
      upstream: `127.0.0.1:${port(server)}`,
      reason: 'proxy stopped',
      bytesSent: 7,
    }),
  ])
  server.close()
})

/** Asks again and again, on a connection kept alive, and on a new one when the proxy has closed that properly. */
async function askUntilRefused(port: number): Promise<{ answered: number; reason: string }> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: readFileSync(site.ca) })
  let answered = 0
  try {
    for (;;) {
      const body = await ask(port, agent)
      if (body !== BODY) return { answered, reason: `a body of ${body.length} bytes` }
      answered += 1
    }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    const syscall = error instanceof Error && 'syscall' in error ? error.syscall : undefined
    return { answered, reason: code === 'ECONNREFUSED' ? 'connect refused' : `${syscall} ${error}` }
  } finally {
    agent.destroy()
  }
}

function ask(port: number, agent: Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest({ host: '127.0.0.1', servername: 'localhost', port, agent }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (chunk) => {
        body += chunk
      })
      response.on('end', () => resolve(body)).on('error', reject)
    })
    request.on('error', reject).end()
  })
}

const WAIT = { timeout: 10_000, interval: 20 }
/** CURLE_COULDNT_CONNECT. */
const REFUSED = 7
