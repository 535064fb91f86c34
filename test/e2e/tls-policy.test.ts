/**
 * What is offered on which listener and for which name, as openssl's and curl's clients see it: policies, strictness
 * about names, and requests that came over the wrong connection.
 */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { PATIENCE } from '../support/patience.ts'
import { type Sealgate, sealgateCommand, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl, sClient } from '../support/tools.ts'

let site: Site
let upstream: TestUpstream
let sealgate: Sealgate
let config: object

beforeAll(async () => {
  site = new Site()
  upstream = await startUpstream((_request, response) => response.end('served'))
  const old = site.certificate({ names: ['old.test'] })
  const listener = { address: '127.0.0.1:0', protocol: 'http', upstream: 'app' }
  const narrow = {
    tls12_suites: ['ECDHE-ECDSA-AES256-GCM-SHA384'],
    tls13_suites: ['TLS_CHACHA20_POLY1305_SHA256'],
    groups: ['P-384'],
    unknown_server_name: 'refuse',
  }
  config = site.config([upstream.port], {
    certificates: [
      site.certificate({ names: ['first.test', '*.first.test'] }),
      { ...old, tls: { versions: ['TLSv1.2'], groups: ['P-256'] } },
    ],
    listeners: [
      { ...listener, name: 'usual' },
      { ...listener, name: 'modern', tls: { policy: 'modern' } },
      { ...listener, name: 'narrow', tls: narrow, misdirected: 'serve' },
    ],
  })
  sealgate = await startSealgate({ config })
})

afterAll(async () => {
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

describe('a policy', () => {
  test.each([
    ['usual', 'first.test', '-tls1_2', true],
    ['usual', 'first.test', '-tls1_3', true],
    ['modern', 'first.test', '-tls1_2', false],
    ['modern', 'first.test', '-tls1_3', true],
    ['modern', 'old.test', '-tls1_2', true], // the certificate's own settings go before the listener's
    ['modern', 'old.test', '-tls1_3', false],
    ['usual', 'old.test', '-tls1_3', false],
  ])('of listener %s and certificate %s takes %s: %s', async (name, server, version, taken) => {
    const { stdout, stderr } = await handshake(name, server, version)

    if (taken) expect(stdout).toContain('served')
    else expect(stderr).toContain('alert protocol version')
  })

  test.each([
    ['usual', 'first.test', '-tls1_2', 'X25519', 'ECDHE-ECDSA-AES128-GCM-SHA256'],
    ['usual', 'first.test', '-tls1_3', 'X25519', 'TLS_AES_128_GCM_SHA256'],
    ['usual', 'old.test', '-tls1_2', 'ECDH, prime256v1', 'ECDHE-ECDSA-AES128-GCM-SHA256'],
    ['narrow', 'first.test', '-tls1_2', 'ECDH, secp384r1', 'ECDHE-ECDSA-AES256-GCM-SHA384'],
    ['narrow', 'first.test', '-tls1_3', 'ECDH, secp384r1', 'TLS_CHACHA20_POLY1305_SHA256'],
    ['narrow', 'old.test', '-tls1_2', 'ECDH, prime256v1', 'ECDHE-ECDSA-AES256-GCM-SHA384'],
  ])(
    'of listener %s and certificate %s with %s agrees on %s and %s',
    async (name, server, version, group, suite) => {
      const { stdout } = await handshake(name, server, version)

      expect(stdout).toContain(`Server Temp Key: ${group}`)
      expect(stdout).toContain(`Cipher is ${suite}`)
    },
  )

  test('is shown by check, with the groups that are in force', async () => {
    const { status, stdout } = await check(config)

    expect(status).toBe(0)
    expect(stdout).toMatch(/^ok +usual +TLSv1\.2 TLSv1\.3; groups (X25519MLKEM768 )?X25519 P-256 P-384$/m)
    expect(stdout).toMatch(/^ok +modern +TLSv1\.3; groups/m)
    expect(stdout).toMatch(/^ok +narrow +TLSv1\.2 TLSv1\.3; groups P-384$/m)
  })

  test('with words that OpenSSL does not know is refused with their places', async () => {
    const listeners = [
      { address: '127.0.0.1:0', protocol: 'http', upstream: 'app', tls: { groups: ['X25519', 'X25591'] } },
    ]
    const { status, stderr } = await check({ ...config, listeners })

    expect(status).toBe(78)
    expect(stderr).toMatch(/:\d+:\d+: listeners\[0\]\.tls\.groups\[1\]: OpenSSL \S+ knows no group "X25591"/)
  })
})

describe('a name that no certificate has', () => {
  test('is refused with unrecognized_name where the listener says so, and logged', async () => {
    const { status, stderr } = await handshake('narrow', 'unknown.test', '-tls1_3')

    expect(status).not.toBe(0)
    expect(stderr).toContain('SSL alert number 112') // unrecognized_name
    await vi.waitFor(
      () =>
        expect(sealgate.lines).toContainEqual(
          expect.objectContaining({
            msg: 'handshake failed',
            listener: 'narrow',
            serverName: 'unknown.test',
            reason: 'unrecognized name',
          }),
        ),
      PATIENCE,
    )
  })

  test('gets the first certificate elsewhere, and is served', async () => {
    const { stdout } = await handshake('usual', 'unknown.test', '-tls1_3')

    expect(stdout).toContain('subject=CN = first.test')
    expect(stdout).toContain('served')
  })

  test('is something else than no name', async () => {
    const { stdout } = await sClient(sealgate.port('narrow'), ['-noservername'])

    expect(stdout).toContain('subject=CN = first.test')
    expect(stdout).toContain('served')
  })
})

describe.each(['--http1.1', '--http2'])('a request with %s', (protocol) => {
  test.each([
    ['first.test', 'first.test', 'served|200'],
    ['first.test', 'www.first.test', 'served|200'], // on the same certificate
    ['first.test', 'old.test', expect.stringMatching(/\|421$/)],
    ['first.test', 'elsewhere.test', expect.stringMatching(/\|421$/)],
    ['unknown.test', 'unknown.test', 'served|200'],
  ])('over a connection for %s to the host %s gets %s', async (server, host, answer) => {
    const { stdout } = await ask('usual', server, protocol, '--header', `Host: ${host}`)

    expect(stdout).toEqual(answer)
  })

  test('by address, without a server name, is served', async () => {
    const { stdout } = await curl(
      protocol,
      '--insecure',
      ...SHOW,
      `https://127.0.0.1:${sealgate.port('usual')}/`,
    )

    expect(stdout).toBe('served|200')
  })

  test('is served for any host where the listener says so', async () => {
    const { stdout } = await ask('narrow', 'first.test', protocol, '--header', 'Host: elsewhere.test')

    expect(stdout).toBe('served|200')
  })
})

test('a misdirected request never reaches an upstream, and is logged with its code', async () => {
  const before = upstream.requests.length
  await ask('usual', 'first.test', '--http2', '--header', 'Host: old.test')

  expect(upstream.requests.length).toBe(before)
  await vi.waitFor(
    () =>
      expect(sealgate.lines).toContainEqual(
        expect.objectContaining({ status: 421, code: 'ERR_REQUEST_MISDIRECTED' }),
      ),
    PATIENCE,
  )
})

test('renegotiation is refused', async () => {
  const { stdout, stderr } = await sClient(
    sealgate.port('usual'),
    ['-tls1_2', '-servername', 'first.test', '-no_ign_eof'],
    'R\n',
  )

  expect(stdout).toContain('Cipher is ECDHE')
  expect(stderr).toContain('RENEGOTIATING')
  expect(stderr).toContain('no renegotiation')
})

function handshake(listener: string, serverName: string, version: string) {
  return sClient(sealgate.port(listener), [version, '-servername', serverName])
}

/** With the server name of the URL, and what curl is told besides. */
function ask(listener: string, serverName: string, ...args: readonly string[]) {
  const port = sealgate.port(listener)
  const resolve = ['--resolve', `${serverName}:${port}:127.0.0.1`]
  return curl('--insecure', ...resolve, ...SHOW, ...args, `https://${serverName}:${port}/`)
}

function check(whole: object) {
  const file = join(site.directory, 'check.yaml')
  writeFileSync(file, JSON.stringify(whole, null, 2))
  return sealgateCommand(['check', '--config', file])
}

const SHOW = ['--write-out', '|%{http_code}']
