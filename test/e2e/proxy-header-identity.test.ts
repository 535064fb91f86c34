/**
 * What a tcp server is told of a connection in front of it: the client, what TLS agreed on, and who the client has proved to
 * be. Once byte by byte, and once by a server that reads PROXY headers itself (Varnish).
 */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { listen, port } from '../integration/proxy/support/front-server.ts'
import { ClientCa, type ClientCertificate } from '../support/client-ca.ts'
import { PATIENCE } from '../support/patience.ts'
import { type ProxyHeader, parseProxyHeader } from '../support/proxy-header.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { Varnish } from '../support/varnish.ts'

const SSL = 1
const SHOWN_NOW = 2
const SHOWN_EVER = 4
const TLV = { alpn: 0x01, authority: 0x02, ssl: 0x20 }
const SUBTYPE = {
  version: 0x21,
  commonName: 0x22,
  cipher: 0x23,
  signature: 0x24,
  key: 0x25,
  certificate: 0x28,
}

let site: Site
let ca: ClientCa
let alice: ClientCertificate
let sealgate: Sealgate
let server: Server
let varnish: Varnish
/** Of connections to `server`, the oldest first. */
const headers: ProxyHeader[] = []

beforeAll(async () => {
  site = new Site()
  ca = new ClientCa(site.directory, 'clients')
  alice = ca.issue('alice', { names: 'DNS:alice.example,URI:spiffe://example.org/alice' })
  varnish = await Varnish.start()
  server = await listen(
    createServer((socket) => {
      let bytes = Buffer.alloc(0)
      socket
        .on('error', () => {})
        .on('data', (chunk) => {
          bytes = Buffer.concat([bytes, chunk])
          const header = parseProxyHeader(bytes)
          if (header === undefined || header.rest.length === 0) return
          headers.push(header)
          socket.end('told')
        })
    }),
  )
  const common = {
    address: '127.0.0.1:0',
    protocol: 'tcp',
    alpn: ['http/1.1'],
    client_certificate: { mode: 'request', ca: ca.certificate },
  }
  const own = [`tcp://127.0.0.1:${port(server)}`]
  const listeners = ['v2', 'v2-certificate', 'v2-addresses', 'varnish'].map((name) => ({
    ...common,
    name,
    upstream: name,
  }))
  const upstreams = {
    v2: { servers: own, proxy_protocol: 'v2' },
    'v2-certificate': { servers: own, proxy_protocol: 'v2-certificate' },
    'v2-addresses': { servers: own, proxy_protocol: 'v2-addresses' },
    varnish: { servers: [`tcp://127.0.0.1:${varnish.port}`], proxy_protocol: 'v2' },
  }
  sealgate = await startSealgate({ config: site.config([], { listeners, upstreams }) })
})

afterAll(async () => {
  await sealgate?.finish()
  server?.close()
  await varnish?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

test('a verified client is told by name, with what TLS agreed on and what it was shown', async () => {
  const client = await open('v2', identity())
  const { ssl, tlvs, source, sourcePort, destinationPort } = await told(client)

  expect({ source, sourcePort }).toEqual({ source: '127.0.0.1', sourcePort: client.localPort })
  expect(destinationPort).toBe(sealgate.port('v2'))
  expect([...tlvs.keys()]).toEqual([TLV.alpn, TLV.authority, TLV.ssl])
  expect(text(tlvs.get(TLV.alpn))).toBe('http/1.1')
  expect(text(tlvs.get(TLV.authority))).toBe('localhost')
  expect({ client: ssl?.client, verify: ssl?.verify }).toEqual({
    client: SSL | SHOWN_NOW | SHOWN_EVER,
    verify: 0,
  })
  expect([...(ssl?.tlvs ?? [])].map(([type, value]) => [type, text(value)])).toEqual([
    [SUBTYPE.version, 'TLSv1.3'],
    [SUBTYPE.cipher, client.getCipher().name],
    [SUBTYPE.signature, 'ecdsa-with-SHA256'],
    [SUBTYPE.key, 'EC256'],
    [SUBTYPE.commonName, 'alice'],
  ])
})

test('a server that asks for it gets the certificate itself, and with it every name', async () => {
  const { ssl } = await told(await open('v2-certificate', identity()))

  expect(ssl?.tlvs.get(SUBTYPE.certificate)).toEqual(alice.der)
})

test('a resumed connection has shown no certificate, but its session has', async () => {
  const first = await open('v2-certificate', identity())
  const ticket = once(first, 'session')
  await told(first)
  const [session] = await ticket
  const second = await open('v2-certificate', { session })
  const { ssl } = await told(second)

  expect(second.isSessionReused()).toBe(true)
  expect({ client: ssl?.client, verify: ssl?.verify }).toEqual({ client: SSL | SHOWN_EVER, verify: 0 })
  expect(text(ssl?.tlvs.get(SUBTYPE.commonName))).toBe('alice')
  expect(ssl?.tlvs.get(SUBTYPE.certificate)).toEqual(alice.der)
  expect(ssl?.tlvs.has(SUBTYPE.key)).toBe(false)
})

test('a client without a certificate is not said to be verified', async () => {
  const { ssl } = await told(await open('v2-certificate'))

  expect(ssl?.client).toBe(SSL)
  expect(ssl?.verify).not.toBe(0)
  expect(ssl?.tlvs.has(SUBTYPE.commonName)).toBe(false)
  expect(ssl?.tlvs.has(SUBTYPE.certificate)).toBe(false)
})

test('of several common names none is told: readers would not agree which', async () => {
  const odd = ca.issue('first/CN=second')
  const { ssl } = await told(await open('v2', identity(odd)))

  expect(ssl?.client).toBe(SSL | SHOWN_NOW | SHOWN_EVER)
  expect(ssl?.tlvs.has(SUBTYPE.commonName)).toBe(false)
})

test('addresses only, for servers that take no more', async () => {
  const header = await told(await open('v2-addresses', identity()))

  expect(header.source).toBe('127.0.0.1')
  expect(header.tlvs.size).toBe(0)
})

test('Varnish reads the same', async () => {
  const client = await open('varnish', identity())
  client.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  let answer = ''
  client.setEncoding('latin1').on('data', (chunk) => {
    answer += chunk
  })
  await once(client, 'end')

  const fields = Object.fromEntries(
    [...answer.matchAll(/^([a-z-]+): (.*)\r$/gm)].map(([, name, value]) => [name, value]),
  )
  expect(fields).toMatchObject({
    client: '127.0.0.1',
    alpn: 'http/1.1',
    authority: 'localhost',
    'is-ssl': 'true',
    'shown-now': 'true',
    'shown-ever': 'true',
    verify: '0',
    version: 'TLSv1.3',
    cipher: client.getCipher().name,
    cn: 'alice',
    signature: 'ecdsa-with-SHA256',
    key: 'EC256',
  })
})

function identity(of: ClientCertificate = alice): ConnectionOptions {
  return { cert: readFileSync(of.certificate), key: readFileSync(of.key) }
}

async function open(listener: string, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const client = connectTls({
    host: '127.0.0.1',
    port: sealgate.port(listener),
    servername: 'localhost',
    ca: readFileSync(site.ca),
    ALPNProtocols: ['http/1.1'],
    ...options,
  })
  await once(client, 'secureConnect')
  return client
}

/** The header before the first byte of this client. */
async function told(client: TLSSocket): Promise<ProxyHeader> {
  const { localPort } = client
  client.write('hello')
  client.resume()
  await once(client, 'end')
  return await vi.waitUntil(() => headers.find(({ sourcePort }) => sourcePort === localPort), PATIENCE)
}

function text(bytes: Buffer | undefined): string | undefined {
  return bytes?.toString('utf8')
}
