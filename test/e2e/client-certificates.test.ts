/**
 * Client certificates against the real process: who gets in, what the upstream is told, what the log says of those who
 * did not, and that neither a ticket nor a header is a way around.
 */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { listen, port } from '../integration/proxy/support/front-server.ts'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { ClientCa, type ClientCertificate } from '../support/client-ca.ts'
import { PATIENCE } from '../support/patience.ts'
import { type LogLine, type Sealgate, sealgateCommand, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl, type Outcome, sClient } from '../support/tools.ts'

const SAN = 'URI:spiffe://example.org/ns/prod/alice'

let site: Site
let ca: ClientCa
let alice: ClientCertificate
let upstream: TestUpstream
let echo: Server
let sealgate: Sealgate
let crl: string

beforeAll(async () => {
  site = new Site()
  ca = new ClientCa(site.directory, 'clients')
  alice = ca.issue('alice', { names: `${SAN},DNS:alice.example` })
  crl = join(site.directory, 'clients.crl')
  writeFileSync(crl, ca.revoke([]))
  upstream = await startUpstream((request, response) =>
    response.end(JSON.stringify(pairs(request.rawHeaders))),
  )
  echo = createServer((socket) => socket.pipe(socket))
  await listen(echo)

  const trust = { ca: ca.certificate, crl: [crl] }
  const headers = {
    chain: 'Client-Cert-Chain',
    subject: 'X-Client-Subject',
    san: 'X-Client-San',
    serial: 'X-Client-Serial',
    fingerprint: 'X-Client-Fingerprint',
  }
  const allow = { spiffe: ['spiffe://example.org/ns/prod/*'] }
  const at = { address: '127.0.0.1:0' }
  const routes = [
    { match: { path: '/private/' }, upstream: 'app', client_certificate: 'require' },
    { upstream: 'app' },
  ]
  const listeners = [
    {
      ...at,
      name: 'strict',
      protocol: 'http',
      upstream: 'app',
      client_certificate: { mode: 'require', ...trust, allow, headers },
    },
    {
      ...at,
      name: 'asking',
      protocol: 'http',
      routes,
      client_certificate: { mode: 'request', ca: ca.certificate },
    },
    { ...at, name: 'plain', protocol: 'http', upstream: 'app' },
    {
      ...at,
      name: 'tcp',
      protocol: 'tcp',
      upstream: 'echo',
      client_certificate: { mode: 'require', ...trust },
    },
  ]
  const upstreams = {
    app: { servers: [`http://127.0.0.1:${upstream.port}`], keep_alive: '1s' },
    echo: { servers: [`tcp://127.0.0.1:${port(echo)}`] },
  }
  sealgate = await startSealgate({ config: site.config([], { listeners, upstreams }) })
})

afterAll(async () => {
  await sealgate?.finish()
  echo?.close()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

test.each(['--http1.1', '--http2'])(
  'the upstream is told who the client is, by Sealgate only (%s)',
  async (protocol) => {
    const spoofed = [
      'Client-Cert: :AAAA:',
      'client_cert: :AAAA:',
      'X-Client-Subject: CN=root',
      'X_Client-Serial: 00',
    ]
    const { stdout } = await visit(
      'strict',
      alice,
      protocol,
      ...spoofed.flatMap((header) => ['--header', header]),
    )

    const told = JSON.parse(stdout).filter(([name]: [string]) => /client/i.test(name))
    expect(told).toEqual([
      ['Client-Cert', `:${alice.der.toString('base64')}:`],
      ['X-Client-Subject', 'CN=alice,O=Example'],
      ['X-Client-San', `"${SAN}", "DNS:alice.example"`],
      ['X-Client-Serial', alice.serial],
      ['X-Client-Fingerprint', expect.stringMatching(/^[0-9a-f]{64}$/)],
    ])
    const line = await request((entry) => entry['listener'] === 'strict')
    expect(line).toMatchObject({
      status: 200,
      clientVerified: 'ok',
      clientSubject: 'CN=alice,O=Example',
      clientNames: [SAN, 'DNS:alice.example'],
      clientSerial: alice.serial,
    })
  },
)

test('what one listener tells about clients, no client may say on another one', async () => {
  const names = ['Client-Cert', 'CLIENT_CERT_CHAIN', 'X-Client-San', 'x_client_fingerprint', 'X-Other']
  const { stdout } = await curl(
    '--cacert',
    site.ca,
    sealgate.url('/', 'plain'),
    ...names.flatMap((name) => ['--header', `${name}: x`]),
  )

  expect(JSON.parse(stdout).filter(([name]: [string]) => /client|other/i.test(name))).toEqual([
    ['x-other', 'x'],
  ])
})

test('intermediates that the client brings are told as RFC 9440 has it', async () => {
  const middle = new ClientCa(site.directory, 'middle', ca)
  const bob = middle.issue('bob', { names: 'URI:spiffe://example.org/ns/prod/bob' })
  const lists = `${ca.revoke([])}${middle.revoke([])}`
  await reload(lists)
  const both = join(site.directory, 'bob-chain.pem')
  writeFileSync(both, readFileSync(bob.certificate, 'utf8') + readFileSync(middle.certificate, 'utf8'))

  const { stdout } = await visit('strict', { ...bob, certificate: both })

  const der = readFileSync(middle.certificate, 'utf8').replaceAll(/-----[^-]+-----|\s/g, '')
  expect(JSON.parse(stdout)).toContainEqual(['Client-Cert-Chain', `:${der}:`])
})

test('a route that requires a certificate answers 403 without one, and the others serve', async () => {
  const code = ['--output', '/dev/null', '--write-out', '%{http_code}']

  expect((await visit('asking', undefined, ...code)).stdout).toBe('200')
  expect((await visitPath('/private/x', undefined, ...code)).stdout).toBe('403')
  expect((await visitPath('/private/x', alice, ...code)).stdout).toBe('200')

  const refused = await request((entry) => entry['status'] === 403)
  expect(refused).toMatchObject({ clientVerified: 'none', code: 'ERR_REQUEST_CLIENT_CERTIFICATE' })
  await vi.waitFor(async () => {
    const metrics = await sealgate.metrics()
    const labels = { listener: 'asking', code: 'ERR_REQUEST_CLIENT_CERTIFICATE' }
    expect(metrics.sum('sealgate_request_failures_total', labels)).toBeGreaterThan(0)
  }, PATIENCE)
})

test('who is refused gets an alert, and the log says why', async () => {
  const stranger = new ClientCa(site.directory, 'stranger')
  const expired = ca.issue('late', { names: SAN, days: -1 })
  const server = ca.issue('server', { names: SAN, usage: 'serverAuth' })
  const dev = ca.issue('dev', { names: 'URI:spiffe://example.org/ns/dev/dev' })

  await expectRefused(undefined, 'certificate required', 'peer did not return a certificate')
  await expectRefused(
    stranger.issue('eve', { names: SAN }),
    'unknown ca',
    'unable to get local issuer certificate (CN=eve,O=Example',
  )
  await expectRefused(
    expired,
    'certificate expired',
    `certificate has expired (CN=late,O=Example, serial ${expired.serial})`,
  )
  await expectRefused(server, 'unsupported certificate', 'unsuitable certificate purpose')
  await expectRefused(dev, 'bad certificate', 'not allowed by this listener (CN=dev,O=Example')

  const metrics = await sealgate.metrics()
  const counted = (reason: string) =>
    metrics.sum('sealgate_handshake_failures_total', { listener: 'strict', reason })
  const reasons = ['missing', 'unknown_issuer', 'expired', 'purpose', 'not_allowed']
  expect(reasons.map((reason) => counted(`client_certificate_${reason}`))).toEqual([1, 1, 1, 1, 1])
})

test('a chain of 100 KB is refused', async () => {
  const long = join(site.directory, 'long.pem')
  writeFileSync(long, readFileSync(alice.certificate, 'utf8').repeat(180))

  const { stdout, stderr } = await shake('strict', '-tls1_3', alice, '-cert_chain', long)

  expect(stdout + stderr).toMatch(/alert illegal parameter/)
  await refusal('excessive message size')
})

test.each([
  ['Certificate', 11, /alert/],
  ['CertificateVerify', 15, /alert/],
])('a %s that was tampered with on its way is refused', async (_, type, alert) => {
  const before = refusals().length
  const tamperer = await startTamperer(sealgate.port('strict'), type)

  const { stdout, stderr } = await sClient(port(tamperer), [
    '-tls1_2',
    '-cert',
    alice.certificate,
    '-key',
    alice.key,
  ])
  tamperer.close()

  expect(stdout + stderr).toMatch(alert)
  await vi.waitFor(() => expect(refusals().length).toBe(before + 1), PATIENCE)
})

test.each(['-tls1_2', '-tls1_3'])('a resumed session keeps its client (%s)', async (version) => {
  const session = join(site.directory, `mtls${version}.session`)
  const first = await shake('strict', version, alice, '-sess_out', session)
  const again = await shake('strict', version, undefined, '-sess_in', session)

  expect(again.stdout).toMatch(/^Reused, TLSv1/m)
  expect(first.stdout).toContain(alice.der.toString('base64'))
  expect(again.stdout).toContain(alice.der.toString('base64'))
})

test.each(['-tls1_2', '-tls1_3'])(
  'a ticket of another listener does not replace a certificate (%s)',
  async (version) => {
    for (const from of ['plain', 'asking']) {
      const session = join(site.directory, `${from}${version}.session`)
      await shake(from, version, from === 'plain' ? undefined : alice, '-sess_out', session)

      const { stdout, stderr } = await shake('strict', version, undefined, '-sess_in', session)

      expect(stdout).not.toMatch(/^Reused/m)
      expect(stdout + stderr).toMatch(
        version === '-tls1_3' ? /alert certificate required/ : /alert handshake failure/,
      )
    }
  },
)

test('tcp mode relays for clients with a certificate only, and names them in the log', async () => {
  const hello = await sClient(
    sealgate.port('tcp'),
    ['-quiet', '-no_ign_eof', '-cert', alice.certificate, '-key', alice.key],
    'hello\n',
  )
  expect(hello.stdout + hello.stderr).not.toMatch(/alert/)
  const line = await sealgate.logged('connection')
  expect(line).toMatchObject({ listener: 'tcp', clientVerified: 'ok', clientSerial: alice.serial })
  expect(JSON.stringify(line)).not.toContain(alice.der.toString('base64').slice(0, 40))

  const refused = await shake('tcp', '-tls1_3', undefined)
  expect(refused.stdout + refused.stderr).toMatch(/alert certificate required/)
})

test('a changed revocation list is taken up, also against tickets; a broken one is not', async () => {
  const mallory = ca.issue('mallory', { names: SAN })
  const session = join(site.directory, 'mallory.session')
  expect((await shake('strict', '-tls1_3', mallory, '-sess_out', session)).stdout).toContain('200 OK')

  await reload(ca.revoke([mallory]))
  await expectRefused(
    mallory,
    'certificate revoked',
    `certificate revoked (CN=mallory,O=Example, serial ${mallory.serial})`,
  )
  const resumed = await shake('strict', '-tls1_3', mallory, '-sess_in', session)
  expect(resumed.stdout).not.toMatch(/^Reused/m)
  expect(resumed.stdout + resumed.stderr).toMatch(/alert certificate revoked/)

  const forgery = join(site.directory, 'forgery')
  mkdirSync(forgery)
  for (const [broken, reason] of [
    ['', 'is empty'],
    [ca.revoke([]).slice(0, 200), 'damaged or cut off'],
    [ca.revoke([], { days: -1 }), 'has expired'],
    [new ClientCa(forgery, 'clients').revoke([]), 'not signed by'],
  ] as const) {
    writeFileSync(crl, broken)
    await vi.waitFor(
      () =>
        expect(
          sealgate.lines.some(({ msg, reason: why }) => msg === NOT_RELOADED && String(why).includes(reason)),
        ).toBe(true),
      { timeout: 15_000 },
    )
  }
  await expectRefused(mallory, 'certificate revoked', 'certificate revoked')
  expect((await visit('strict', alice)).status).toBe(0)
}, 60_000)

test('a revocation list that its CA has not signed is refused at the start, and by `check`', async () => {
  const folder = join(site.directory, 'start')
  mkdirSync(folder)
  const forged = join(folder, 'forged.crl')
  writeFileSync(forged, new ClientCa(folder, 'clients').revoke([]))
  const client_certificate = { mode: 'require', ca: ca.certificate, crl: [forged] }
  const listeners = [
    { name: 'web', address: '127.0.0.1:0', protocol: 'http', upstream: 'app', client_certificate },
  ]
  const config = join(folder, 'sealgate.yaml')
  writeFileSync(config, JSON.stringify(site.config([upstream.port], { listeners })))

  for (const command of ['check', 'run']) {
    const { status, stdout, stderr } = await sealgateCommand([command, '--config', config])
    expect(status, stdout + stderr).toBe(78)
    expect(stdout + stderr).toContain(
      `${forged}): revocation list 1 is not signed by the certificate authority`,
    )
  }
})

const NOT_RELOADED = 'client CAs or revocation lists not reloaded: the old ones stay'
const RELOADED = 'client CAs and revocation lists reloaded'

/** Both listeners with a list have taken it up. */
async function reload(list: string): Promise<void> {
  const reloads = () => sealgate.lines.filter(({ msg }) => msg === RELOADED).length
  const before = reloads()
  writeFileSync(crl, list)
  await vi.waitFor(() => expect(reloads()).toBe(before + 2), { timeout: 15_000 })
}

function visit(listener: string, client: ClientCertificate | undefined, ...args: string[]): Promise<Outcome> {
  return curl('--cacert', site.ca, ...shown(client, '--cert', '--key'), ...args, sealgate.url('/', listener))
}

function visitPath(path: string, client: ClientCertificate | undefined, ...args: string[]): Promise<Outcome> {
  return curl('--cacert', site.ca, ...shown(client, '--cert', '--key'), ...args, sealgate.url(path, 'asking'))
}

function shake(
  listener: string,
  version: string,
  client: ClientCertificate | undefined,
  ...args: string[]
): Promise<Outcome> {
  return sClient(sealgate.port(listener), [version, ...shown(client, '-cert', '-key'), ...args])
}

function shown(client: ClientCertificate | undefined, certificate: string, key: string): string[] {
  return client === undefined ? [] : [certificate, client.certificate, key, client.key]
}

async function expectRefused(
  client: ClientCertificate | undefined,
  alert: string,
  reason: string,
): Promise<void> {
  const { stdout, stderr } = await shake('strict', '-tls1_3', client)
  expect(stdout + stderr).toContain(`alert ${alert}`)
  await refusal(reason)
}

function refusals(): LogLine[] {
  return sealgate.lines.filter(({ msg }) => msg === 'handshake failed')
}

async function refusal(reason: string): Promise<void> {
  await vi.waitFor(
    () => expect(refusals().map((line) => line['reason'])).toContainEqual(expect.stringContaining(reason)),
    PATIENCE,
  )
}

/** The newest access log line that matches, once it is there. */
function request(matches: (line: LogLine) => boolean): Promise<LogLine> {
  return vi.waitUntil(() => sealgate.requests().findLast(matches), PATIENCE)
}

function pairs(raw: readonly string[]): string[][] {
  return raw.flatMap((name, i) => (i % 2 === 0 ? [[name, raw[i + 1] ?? '']] : []))
}

/** Passes a TLS 1.2 connection on, with one bit of a client's handshake message of this type turned. */
async function startTamperer(target: number, type: number): Promise<Server> {
  const server = createServer((client: Socket) => {
    const there = connect(target, '127.0.0.1')
    let rest = Buffer.alloc(0)
    client.on('data', (bytes) => {
      rest = Buffer.concat([rest, bytes])
      // Record: type, version (2), length (2), fragment; handshake messages in the clear begin with their type.
      while (rest.length >= 5 && rest.length >= 5 + rest.readUInt16BE(3)) {
        const record = rest.subarray(0, 5 + rest.readUInt16BE(3))
        rest = rest.subarray(record.length)
        const last = record.length - 1
        if (record[0] === 22 && record[5] === type) record[last] = (record[last] ?? 0) ^ 1
        there.write(record)
      }
    })
    there.pipe(client)
    for (const [socket, other] of [
      [client, there],
      [there, client],
    ] as const)
      socket.on('error', () => {}).on('close', () => other.destroy())
  })
  await listen(server)
  return server
}
