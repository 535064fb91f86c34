/**
 * What of a request reaches the upstream. curl and raw sockets on one side, node:http on the other: hop-by-hop
 * fields stop here, the client's claims about itself are replaced, everything else passes as it came.
 */

import { expect, test } from 'vitest'
import { curl, sendRaw } from './support/clients.ts'
import { PEER, startFront } from './support/front-server.ts'
import { startUpstream, type TestUpstream } from './support/upstreams.ts'

const echo = (): Promise<TestUpstream> =>
  startUpstream((request, response) => response.end(`${request.method} ${request.url}`))

for (const protocol of ['--http1.1', '--http2-prior-knowledge'] as const) {
  const portOf = (front: { http1Port: number; http2Port: number }): number =>
    protocol === '--http1.1' ? front.http1Port : front.http2Port

  test(`a request passes with method, raw path and body (${protocol})`, async () => {
    await using upstream = await startUpstream((request, response) => request.pipe(response))
    await using front = await startFront({ upstreams: { web: [upstream.port] } })

    const url = `http://127.0.0.1:${portOf(front)}/a/%2e%2e/b//c?q=1&r=%20`
    const reply = await curl(protocol, '--path-as-is', '-X', 'PUT', '-d', 'hello', url)

    expect(reply.stdout).toBe('hello')
    expect(upstream.requests[0]?.method).toBe('PUT')
    expect(upstream.requests[0]?.url).toBe('/a/%2e%2e/b//c?q=1&r=%20')
    expect(front.lines[0]).toMatchObject({ method: 'PUT', status: 200, bytesReceived: 5, bytesSent: 5 })
  })

  test(`a spoofed X-Forwarded-For is replaced, in any spelling (${protocol})`, async () => {
    await using upstream = await echo()
    await using front = await startFront({ upstreams: { web: [upstream.port] } })

    const spoofed = ['X-Forwarded-For: 1.1.1.1', 'x-forwarded-proto: http', 'X_Forwarded_For: 2.2.2.2']
    const more = ['Forwarded: for=3.3.3.3', 'X-Real-IP: 4.4.4.4', 'X-Forwarded-Client-Cert: Hash=1']
    const headers = [...spoofed, ...more].flatMap((header) => ['-H', header])
    await curl(protocol, ...headers, '-H', 'Host: example.com', `http://127.0.0.1:${portOf(front)}/`)

    const seen = upstream.requests[0]?.headers ?? {}
    expect(seen).toMatchObject({
      host: 'example.com',
      'x-forwarded-for': PEER,
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'example.com',
      forwarded: `for=${PEER};host="example.com";proto=https`,
    })
    expect(JSON.stringify(upstream.requests[0]?.rawHeaders)).not.toMatch(/[1-4]\.[1-4]\.[1-4]\.[1-4]|Hash/)
  })
}

test('hop-by-hop fields and those that Connection names never reach the upstream', async () => {
  await using upstream = await echo()
  await using front = await startFront({ upstreams: { web: [upstream.port] } })

  const lines = [
    'GET / HTTP/1.1',
    'Host: example.com',
    'Connection: close, X-Private, TE, Upgrade, Content-Length',
    'X-Private: 1',
    'Keep-Alive: timeout=5',
    'Proxy-Connection: keep-alive',
    'TE: trailers, deflate',
    'Upgrade: websocket',
    'X-Public: 2',
  ]
  await sendRaw(front.http1Port, `${lines.join('\r\n')}\r\n\r\n`)

  const seen = upstream.requests[0]?.headers ?? {}
  expect(seen['x-public']).toBe('2')
  for (const name of ['x-private', 'proxy-connection', 'te', 'upgrade']) expect(seen).not.toHaveProperty(name)
  expect(seen.connection).toBe('keep-alive')
  expect(seen['keep-alive']).toBeUndefined()
})

test('an IPv6 client is quoted and bracketed in Forwarded', async () => {
  await using upstream = await echo()
  await using front = await startFront({ upstreams: { web: [upstream.port] }, peer: '2001:db8::1' })

  await curl('-H', 'Host: [::1]:8443', `http://127.0.0.1:${front.http1Port}/`)

  expect(upstream.requests[0]?.headers.forwarded).toBe('for="[2001:db8::1]";host="[::1]:8443";proto=https')
  expect(upstream.requests[0]?.headers['x-forwarded-for']).toBe('2001:db8::1')
})

test('the authority of an absolute-form target wins over Host', async () => {
  await using upstream = await echo()
  await using front = await startFront({ upstreams: { web: [upstream.port] } })

  const request = 'GET http://inner.example/x?y HTTP/1.1\r\nHost: outer.example\r\nConnection: close\r\n\r\n'
  await sendRaw(front.http1Port, request)

  expect(upstream.requests[0]?.url).toBe('/x?y')
  expect(upstream.requests[0]?.headers.host).toBe('inner.example')
})

test('cookies that HTTP/2 has split arrive as one field', async () => {
  await using upstream = await echo()
  await using front = await startFront({ upstreams: { web: [upstream.port] } })

  await curl(
    '--http2-prior-knowledge',
    ...['-H', 'cookie: a=1', '-H', 'cookie: b=2'],
    `http://127.0.0.1:${front.http2Port}/`,
  )

  expect(upstream.requests[0]?.headers.cookie).toBe('a=1; b=2')
  expect(upstream.requests[0]?.rawHeaders.filter((name) => name.toLowerCase() === 'cookie')).toHaveLength(1)
})

test('routes choose the upstream by host and path; no route is 404 and names no reason', async () => {
  await using web = await startUpstream((_request, response) => response.end('web'))
  await using api = await startUpstream((_request, response) => response.end('api'))
  await using front = await startFront({
    upstreams: { web: [web.port], api: [api.port] },
    routes: [
      { host: 'example.com', path: '/api/', upstream: 'api' },
      { host: '*.example.com', path: undefined, upstream: 'web' },
    ],
  })
  const get = (host: string, path: string) =>
    curl('-w', ' %{http_code}', '-H', `Host: ${host}`, `http://127.0.0.1:${front.http1Port}${path}`)

  expect((await get('example.com', '/api/x')).stdout).toBe('api 200')
  expect((await get('www.EXAMPLE.com:443', '/api/x')).stdout).toBe('web 200')
  expect((await get('a.b.example.com', '/')).stdout).toMatch(/^404 Not Found\nrequest [0-9a-f]+-\w+\n 404$/)
  expect((await get('example.com', '/')).stdout).toMatch(/ 404$/)
  expect(front.lines.filter((line) => line.status === 404)).toHaveLength(2)
  expect(front.lines.at(-1)).toMatchObject({ code: 'ERR_REQUEST_NO_ROUTE', host: 'example.com' })
})

test('a route that requires a certificate does so however its path is spelled', async () => {
  // Many servers take the path from the target like this.
  const pathOf = (target: string) => new URL(target, 'http://a').pathname
  await using upstream = await startUpstream((request, response) => response.end(pathOf(request.url ?? '')))
  await using front = await startFront({
    upstreams: { web: [upstream.port] },
    routes: [
      { host: undefined, path: '/admin', upstream: 'web', requireClientCertificate: true },
      { host: undefined, path: undefined, upstream: 'web' },
    ],
  })
  const status = async (path: string) => {
    const request = `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`
    return Number((await sendRaw(front.http1Port, request)).text.slice(9, 12))
  }

  const guarded = [
    '/admin',
    '//admin',
    '/%61dmin',
    '/./admin',
    '/x/../admin',
    '/%2fadmin',
    '/\\admin',
    '/%5Cadmin/',
    '//x/admin',
    '/\\x/admin',
    '///x/./%61dmin',
    '/admin;x=1/y',
    '/;/admin',
    '/;x/admin/y',
    '/%3b/admin',
    '/.;/admin',
  ]
  for (const path of guarded) expect(await status(path), path).toBe(403)
  const ambiguous = [
    '/admin//../x',
    '/admin/../x',
    '/x%2f..%2fadmin',
    '/x\\..\\admin',
    '/x/..;/admin',
    '/x#/../../admin',
  ]
  for (const path of ambiguous) expect([400, 403], path).toContain(await status(path))
  expect(upstream.requests).toHaveLength(0)

  const open = ['/x%2fadmin', '/%7Ex//y/.', '/ADMIN', '/x?/../admin', '//x//y', '/x;y/admin']
  for (const path of open) expect(await status(path), path).toBe(200)
  expect(upstream.requests.map(({ url }) => url)).toEqual(open)
})
