/** Which protocol is spoken inside TLS is agreed on in the handshake (RFC 7301), or the handshake ends there. */

import { createServer } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { listen, port } from '../integration/proxy/support/front-server.ts'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { sClient } from '../support/tools.ts'

const greeter = createServer((socket) => socket.end('hello from tcp'))
let site: Site
let upstream: TestUpstream
let sealgate: Sealgate

beforeAll(async () => {
  site = new Site()
  upstream = await startUpstream((_request, response) => response.end('served'))
  await listen(greeter)
  const tcp = { protocol: 'tcp', address: '127.0.0.1:0', upstream: 'greeter' }
  sealgate = await startSealgate({
    config: site.config([upstream.port], {
      listeners: [
        { name: 'web', protocol: 'http', address: '127.0.0.1:0', upstream: 'app' },
        { name: 'mqtt', ...tcp, alpn: ['mqtt', 'mqtt5'] },
        { name: 'raw', ...tcp },
      ],
      upstreams: {
        app: { servers: [`http://127.0.0.1:${upstream.port}`], keep_alive: '1s' },
        greeter: { servers: [`tcp://127.0.0.1:${port(greeter)}`] },
      },
    }),
  })
})

afterAll(async () => {
  await sealgate?.finish()
  greeter.close()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

test.each([
  ['web', 'h2', 'h2'],
  ['web', 'h2,http/1.1', 'h2'],
  ['web', 'http/1.1,h2', 'h2'],
  ['web', 'http/1.1', 'http/1.1'],
  ['web', 'http/1.0', 'http/1.0'],
  ['web', 'spdy/3,http/1.1', 'http/1.1'],
  ['mqtt', 'mqtt5,mqtt', 'mqtt'],
  ['mqtt', 'mqtt5', 'mqtt5'],
])('listener %s and a client that offers %s agree on %s', async (listener, offered, agreed) => {
  expect((await offer(listener, offered)).stdout).toContain(`ALPN protocol: ${agreed}\n`)
})

test.each([
  ['web', 'mqtt'],
  ['mqtt', 'h2'],
])('listener %s refuses a client that offers only %s: no_application_protocol', async (listener, offered) => {
  const { status, stderr } = await offer(listener, offered)

  expect(status).not.toBe(0)
  expect(stderr).toContain('alert no application protocol')
})

test('a client without ALPN is served HTTP/1.1 by an http listener', async () => {
  const { stdout } = await sClient(sealgate.port('web'), ['-CAfile', site.ca])

  expect(stdout).toContain('No ALPN negotiated')
  expect(stdout).toContain('served')
})

test('a tcp listener without alpn ignores what a client offers', async () => {
  const { stdout } = await sClient(sealgate.port('raw'), ['-CAfile', site.ca, '-alpn', 'h2'])

  expect(stdout).toContain('No ALPN negotiated')
  expect(stdout).toContain('hello from tcp')
})

function offer(listener: string, protocols: string) {
  return sClient(sealgate.port(listener), ['-CAfile', site.ca, '-alpn', protocols], '')
}
