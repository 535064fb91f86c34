/** The admin endpoint over real sockets: its pages, its refusals, and what a careless client cannot do. */

import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { pino } from 'pino'
import { afterEach, expect, test } from 'vitest'
import { type AdminServer, type AdminSource, startAdminServer } from '../../../src/admin/admin-server.ts'
import { exitStatus } from '../../../src/errors.ts'

const LOOPBACK = { host: '127.0.0.1', port: 0 }
const SOURCE: AdminSource = {
  ready: () => ({ ready: true, reasons: [] }),
  status: () => ({ hsms: [{ name: 'hsm-a', up: true }] }),
  metrics: async () => 'sealgate_hsm_up{hsm="hsm-a"} 1\n',
}

const servers: AdminServer[] = []
const logged: string[] = []
const log = pino({ level: 'warn' }, { write: (line: string) => logged.push(line) })
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()))
  logged.length = 0
})

async function start(source: Partial<AdminSource> = {}): Promise<{ server: AdminServer; url: string }> {
  const server = await startAdminServer(LOOPBACK, { ...SOURCE, ...source }, log)
  servers.push(server)
  return { server, url: `http://127.0.0.1:${server.port}` }
}

/** Sends bytes as they are and reads to the end. */
async function raw(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let answer = ''
  socket.on('data', (chunk) => {
    answer += chunk
  })
  // A reset after the answer is a proper end, too.
  socket.on('error', () => {})
  socket.write(bytes)
  await once(socket, 'close')
  return answer
}

test('each page says what it is asked, with its type', async () => {
  const { url } = await start()
  const pages = ['/healthz', '/readyz', '/status', '/metrics?x=1']

  const answers = await Promise.all(pages.map((page) => fetch(url + page)))

  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
  expect(answers.map(({ headers }) => headers.get('content-type'))).toEqual([
    'text/plain; charset=utf-8',
    'text/plain; charset=utf-8',
    'application/json',
    'text/plain; version=0.0.4; charset=utf-8',
  ])
  expect(await answers[0]?.text()).toBe('ok\n')
  expect(await answers[2]?.json()).toEqual({ hsms: [{ name: 'hsm-a', up: true }] })
  expect(await answers[3]?.text()).toBe('sealgate_hsm_up{hsm="hsm-a"} 1\n')
})

test('`?certificates=any` asks for less, and is told what is wrong nevertheless', async () => {
  const ready = (wanted: string) => ({ ready: wanted === 'any', reasons: ['no HSM signs for a'] })
  const { url } = await start({ ready })

  const any = await fetch(`${url}/readyz?certificates=any`)
  expect([any.status, await any.text()]).toEqual([200, 'ready\nno HSM signs for a\n'])
  expect((await fetch(`${url}/readyz`)).status).toBe(503)
})

test('not ready is a 503 with the reasons', async () => {
  const { url } = await start({ ready: async () => ({ ready: false, reasons: ['no HSM signs for a', 'b'] }) })

  const answer = await fetch(`${url}/readyz`)

  expect(answer.status).toBe(503)
  expect(await answer.text()).toBe('not ready\nno HSM signs for a\nb\n')
})

test('HEAD has the headers of GET and no body', async () => {
  const { server, url } = await start()
  const get = await fetch(`${url}/metrics`)

  const head = await raw(server.port, 'HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n')

  expect(head).toContain(`Content-Length: ${get.headers.get('content-length')}`)
  expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
  expect(head).toMatch(/\r\n\r\n$/)
})

test.each(['/', '/metrics/', '/constructor', '/__proto__', '/%2fmetrics'])('%s is a 404', async (path) => {
  const { url } = await start()

  expect((await fetch(url + path)).status).toBe(404)
})

test('other methods are a 405 that names the allowed ones', async () => {
  const { url } = await start()

  const answer = await fetch(`${url}/metrics`, { method: 'POST', body: 'x'.repeat(100_000) })

  expect(answer.status).toBe(405)
  expect(answer.headers.get('allow')).toBe('GET, HEAD')
})

test('a source that fails is a 500 without the reason, which goes to the log', async () => {
  const { url } = await start({
    metrics: () => Promise.reject(new Error('the reason')),
    status: () => {
      throw new Error('another reason')
    },
  })

  const answers = await Promise.all([fetch(`${url}/metrics`), fetch(`${url}/status`)])

  expect(answers.map(({ status }) => status)).toEqual([500, 500])
  expect(await answers[0]?.text()).not.toContain('reason')
  expect(logged.join()).toContain('the reason')
  expect(logged.join()).toContain('another reason')
})

test('garbage and huge headers are refused, and the next client is served', async () => {
  const { server, url } = await start()

  expect(await raw(server.port, '\x16\x03\x01\x02\x00\x01hello\r\n\r\n')).toMatch(/^HTTP\/1\.1 400/)
  expect(await raw(server.port, `GET / HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`)).toMatch(
    /^HTTP\/1\.1 431/,
  )
  expect((await fetch(`${url}/healthz`)).status).toBe(200)
})

test('an address in use is refused with the address and the cure, and status 69', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const address = other.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0

  const error = await startAdminServer({ host: '127.0.0.1', port }, SOURCE, log).catch(
    (reason: unknown) => reason,
  )
  other.close()

  expect(error).toMatchObject({ code: 'ERR_TLS_LISTEN' })
  expect(String(error)).toContain(
    `127.0.0.1:${port} is in use by another program; choose another admin.address`,
  )
  expect(exitStatus(error)).toBe(69)
})

test('closing answers what was asked, refuses what comes after, and may be asked twice', async () => {
  let answerNow: ((text: string) => void) | undefined
  const { server, url } = await start({
    metrics: () =>
      new Promise<string>((resolve) => {
        answerNow = resolve
      }),
  })
  const pending = fetch(`${url}/metrics`)
  await expect.poll(() => answerNow).toBeDefined()

  const closed = server.close()
  expect(server.close()).toBe(closed)
  answerNow?.('late\n')

  expect(await (await pending).text()).toBe('late\n')
  await closed
  await expect(fetch(`${url}/healthz`)).rejects.toThrow()
})

test('closing waits for no connection that asks nothing, and not long for an answer', async () => {
  const { server } = await start({ metrics: () => new Promise(() => {}) })
  const [silent, asking] = ['', 'GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n'].map((bytes) => {
    const socket = connect(server.port, '127.0.0.1').on('error', () => {})
    socket.write(bytes)
    return once(socket, 'close')
  })
  await fetch(`http://127.0.0.1:${server.port}/healthz`)

  const beganMs = performance.now()
  await Promise.all([server.close(), silent, asking])
  expect(performance.now() - beganMs).toBeLessThan(3_000)
})
