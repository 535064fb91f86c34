/** From YAML to Config: what a good file becomes, and what is said about a bad one, all at once. */

import { chmodSync, mkdtempSync, rmdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadConfig } from '../../../src/config/load.ts'
import { exitStatus } from '../../../src/errors.ts'
import { type ConfigFixture, configFixture, GOOD, good } from './config-fixture.ts'

let fixture: ConfigFixture
beforeAll(() => {
  fixture = configFixture()
})
afterAll(() => fixture[Symbol.dispose]())

describe('a good file', () => {
  test('becomes absolute paths, milliseconds and bytes, with the defaults of the reference', async () => {
    const { directory } = fixture

    const config = await fixture.load(GOOD)

    expect(config).toMatchObject({
      file: join(directory, 'sealgate.yaml'),
      hsms: [
        {
          name: 'hsm-a',
          module: join(directory, 'module.so'),
          token: { label: 'web-a' },
          pin: { file: join(directory, 'hsm.pin') },
          userType: 1,
          sessions: 32,
          env: { SOFTHSM2_CONF: join(directory, 'softhsm2.conf'), LEVEL: 'debug' },
        },
      ],
      certificates: [
        {
          certificate: { file: join(directory, 'leaf.pem'), names: ['localhost'], keyType: 'ec' },
          key: { label: 'web', id: Uint8Array.of(1, 2), hsms: ['hsm-a'] },
        },
      ],
      listeners: [
        {
          protocol: 'http',
          name: 'listeners[0]',
          address: { host: '127.0.0.1', port: 8443 },
          http: {
            routes: [{ host: undefined, path: undefined, upstream: 'web' }],
            maxHeaderBytes: 16_384,
            headerTimeoutMs: 10_000,
            keepAliveMs: 75_000,
          },
        },
      ],
      upstreams: [
        {
          name: 'web',
          servers: [{ scheme: 'http', host: '127.0.0.1', port: 9000 }],
          balance: 'round-robin',
          connectTimeoutMs: 5_000,
          responseTimeoutMs: 60_000,
          keepAliveMs: 30_000,
          connections: 256,
          idleTimeoutMs: 600_000,
        },
      ],
      signing: { timeoutMs: 2_000, queue: 1_024, hedge: 'auto', verify: 'auto' },
      tls: { handshakeTimeoutMs: 10_000, ticketRotationMs: 43_200_000 },
      admin: { address: { host: '127.0.0.1', port: 9901 } },
      threads: { tls: availableParallelism(), http: availableParallelism(), scheduling: 'batch' },
      log: { level: 'info', access: true },
      drainTimeoutMs: 30_000,
      warnings: [],
    })
  })

  test('is frozen all the way down', async () => {
    const config = await fixture.load(GOOD)

    for (const value of [
      config,
      config.hsms,
      config.hsms[0]?.env,
      config.signing,
      config.listeners[0]?.address,
    ]) {
      expect(Object.isFrozen(value)).toBe(true)
    }
  })

  test('survives the structured clone that takes it into a worker thread', async () => {
    const config = await fixture.load(GOOD)

    expect(structuredClone(config)).toEqual(config)
  })

  test('may use anchors, turn admin off, name a token by serial or slot, and a user type by number', async () => {
    const yaml = `${GOOD}admin: off\n`.replace(
      /hsms:[\s\S]*?certificates/,
      `hsms:
  hsm-a: &hsm { module: module.so, serial: "0042", pin: { file: hsm.pin }, user_type: 0x80000001 }
  hsm-b: { module: module.so, slot: 0x1F, pin: { file: hsm.pin }, user_type: so }
  hsm-c: *hsm
certificates`,
    )
    const config = await fixture.load(yaml.replace('[hsm-a]', '[hsm-a, hsm-b, hsm-c]'))

    expect(config.admin).toBeUndefined()
    expect(config.hsms).toMatchObject([
      { name: 'hsm-a', token: { serial: '0042' }, userType: 0x8000_0001 },
      { name: 'hsm-b', token: { slot: 31 }, userType: 0 },
      { name: 'hsm-c', token: { serial: '0042' } },
    ])
  })

  test('modules that need parameters, and keys that are named otherwise there', async () => {
    const yaml = good(
      'certificates',
      `  nss: { module: module.so, initialize: "configdir='sql:./nss' flags=readOnly", token: NSS Certificate DB, pin: { file: hsm.pin } }
certificates`,
    )
    const config = await fixture.load(
      yaml.replace('hsms: [hsm-a]', 'hsms: [hsm-a, nss], uris: { nss: "pkcs11:id=%0A" }'),
    )

    const database = join(fixture.directory, 'nss')
    expect(config.hsms).toMatchObject([
      { name: 'hsm-a', initialize: undefined },
      { name: 'nss', initialize: `configdir='sql:${database}' flags=readOnly` },
    ])
    expect(config.certificates[0]?.key.label).toBe('web')
    expect(config.certificates[0]?.key.byHsm).toEqual(
      new Map([['nss', { label: undefined, id: Uint8Array.of(10), uri: 'pkcs11:id=%0A' }]]),
    )
  })

  test('redirects without HSM and certificate', async () => {
    const config = await fixture.load('listeners: [{ address: "[::]:80", protocol: redirect }]\n')

    expect(config.listeners).toEqual([
      { protocol: 'redirect', name: 'listeners[0]', address: { host: '::', port: 80 } },
    ])
  })

  test('may listen on port 0 twice', async () => {
    const config = await fixture.load(
      'listeners: [{ address: "127.0.0.1:0", protocol: redirect }, { address: "127.0.0.1:0", protocol: redirect }]\n',
    )

    expect(config.listeners.length).toBe(2)
  })

  test('has routes in order, with hosts in lower case', async () => {
    const config = await fixture.load(
      good(
        'upstream: web }\n',
        'routes: [{ match: { host: "*.Example.COM", path: /api/ }, upstream: web }] }\n',
      ),
    )

    expect(config.listeners).toMatchObject([
      { http: { routes: [{ host: '*.example.com', path: '/api/', upstream: 'web' }] } },
    ])
  })

  test('has upstream servers as scheme, host and port', async () => {
    const config = await fixture.load(
      good('"http://127.0.0.1:9000"', '"http://[::1]:9000", "http://app.internal", "HTTP://app:80/"'),
    )

    expect(config.upstreams[0]?.servers).toEqual([
      { scheme: 'http', host: '::1', port: 9000 },
      { scheme: 'http', host: 'app.internal', port: 80 },
      { scheme: 'http', host: 'app', port: 80 },
    ])
  })
})

/** GOOD with a tcp listener. */
function tcp(keys: string): string {
  return good('protocol: http, upstream: web }', `protocol: tcp, ${keys} }`).replace(
    '["http://127.0.0.1:9000"]',
    '["tcp://127.0.0.1:9000"]',
  )
}

describe('a bad file', () => {
  test('is described completely: schema, references and files, in the order of the file, with line and column', async () => {
    const problems = await fixture.problems(`
hsms:
  hsm-a:
    module: missing.so
    tokn: web-a
    pin: { file: hsm.pin }
    sessions: 0
certificates:
  - chain: missing.pem
    key: { uri: "pkcs11:object=web", hsms: [hsm-b] }
listeners:
  - { address: "127.0.0.1:8443", protocol: http, upstream: wbe }
upstreams:
  web: { servers: ["http://127.0.0.1:9000"], connect_timeout: 5 }
sining: { timeout: 1s }
`)

    expect(problems.map(({ line, column, path, code }) => [line, column, path, code])).toEqual([
      [4, 13, 'hsms.hsm-a.module', 'ERR_CONFIG_VALUE'],
      [5, 5, 'hsms.hsm-a.tokn', 'ERR_CONFIG_UNKNOWN_KEY'],
      [7, 15, 'hsms.hsm-a.sessions', 'ERR_CONFIG_VALUE'],
      [9, 12, 'certificates[0].chain', 'ERR_CONFIG_CERTIFICATE'],
      [10, 45, 'certificates[0].key.hsms[0]', 'ERR_CONFIG_VALUE'],
      [12, 60, 'listeners[0].upstream', 'ERR_CONFIG_VALUE'],
      [14, 63, 'upstreams.web.connect_timeout', 'ERR_CONFIG_VALUE'],
      [15, 1, 'sining', 'ERR_CONFIG_UNKNOWN_KEY'],
    ])
    expect(problems.map(({ message }) => message)).toMatchObject({
      1: 'unknown key; did you mean "token"?',
      4: 'there is no "hsm-b" in hsms; did you mean "hsm-a"?',
      5: 'there is no "wbe" in upstreams; did you mean "web"?',
      6: 'needs a unit, e.g. 250ms; units are ms, s, m, h, d',
      7: 'unknown key; did you mean "signing"?',
    })
  })

  test('ends the process with status 78', async () => {
    const error = await fixture.load('listeners: []\n').catch((reason: unknown) => reason)

    expect(exitStatus(error)).toBe(78)
  })

  test.each([
    ['no listeners', 'hsms: {}\n', 'listeners: is missing'],
    ['an empty list', 'listeners: []\n', 'listeners: is empty'],
    ['an empty key', `${GOOD}signing:\n`, 'signing: is empty'],
    ['a list for a map', `${GOOD}signing: []\n`, 'signing: must be a map, not a list'],
    ['a scalar document', 'hello\n', ': must be a map, not text'],
    [
      'a number for text',
      good('token: web-a', 'token: 4711'),
      'hsms.hsm-a.token: must be text, not a number',
    ],
    [
      'text for a number',
      good('token: web-a', 'token: web-a\n    sessions: many'),
      'must be a number, not text',
    ],
    [
      'a choice that is none',
      `${GOOD}log: { level: inf }\n`,
      'log.level: must be error, warn, info or debug; did you mean "info"?',
    ],
    ['a duration that is none', `${GOOD}drain_timeout: 1h30m\n`, 'drain_timeout: is no duration'],
    [
      'a duration out of bounds',
      `${GOOD}signing: { timeout: 2h }\n`,
      'signing.timeout: is too large: 10ms ... 1m',
    ],
    ['no threads', `${GOOD}threads: { tls: 0 }\n`, 'threads.tls: '],
    [
      'an unknown protocol',
      good('protocol: http', 'protocol: https'),
      'listeners[0].protocol: must be http, tcp or redirect',
    ],
    [
      'a key of another protocol',
      good('upstream: web }\n', 'upstream: web, alpn: [h2] }\n'),
      'listeners[0].alpn: unknown key',
    ],
    [
      'an unknown key in admin',
      `${GOOD}admin: { adress: "127.0.0.1:1" }\n`,
      'admin.adress: unknown key; did you mean "address"?',
    ],
    ['admin on', `${GOOD}admin: on\n`, 'admin: must be off'],
    ['a bad name', `${GOOD}  "web app": { servers: ["http://a"] }\n`, 'upstreams.web app: is no name'],
    ['no token', good('    token: web-a\n', ''), 'hsms.hsm-a: names no token'],
    [
      'two tokens',
      good('token: web-a', 'token: web-a\n    slot: 0'),
      'by token and slot: give one of them only',
    ],
    ['a long label', good('web-a', `"${'ä'.repeat(17)}"`), 'longer than a token label'],
    [
      'two ways to the PIN',
      good('{ file: hsm.pin }', '{ file: hsm.pin, env: HOME }'),
      'hsms.hsm-a.pin: must say where the PIN is, once',
    ],
    ['a PIN nowhere', good('{ file: hsm.pin }', '{}'), 'hsms.hsm-a.pin: must say where the PIN is, once'],
    ['a PIN file that is missing', good('hsm.pin', 'none.pin'), 'none.pin: there is no such file'],
    [
      'a PIN variable that is not set',
      good('{ file: hsm.pin }', '{ env: SEALGATE_TEST_UNSET }'),
      'SEALGATE_TEST_UNSET is not set',
    ],
    ['a directory for a module', good('module.so', '.'), 'is a directory'],
    [
      'a member twice',
      good('[hsm-a]', '[hsm-a, hsm-a]'),
      'certificates[0].key.hsms[1]: "hsm-a" is named twice',
    ],
    ['no member', good('[hsm-a]', '[]'), 'certificates[0].key.hsms: is empty'],
    ['another kind of object', good('type=private', 'type=cert'), 'key.uri: names no private key'],
    [
      'a URI for an HSM that the key is not in',
      good('hsms: [hsm-a]', 'hsms: [hsm-a], uris: { hsm-b: "pkcs11:id=%01" }'),
      'key.uris.hsm-b: "hsm-b" is not among this key\'s hsms',
    ],
    ['no object in the URI', good('object=web;id=%01%02;', ''), 'key.uri: names no object'],
    ['an empty id', good('id=%01%02', 'id='), 'empty object or id'],
    ['a token in the URI', good('type=private', 'token=x'), 'key.uri: token does not belong here'],
    [
      'a PIN source in the URI',
      good('type=private', 'type=private?pin-source=file:/x'),
      'key.uri: pin-source is not read',
    ],
    [
      'no URI at all',
      good('pkcs11:object=web;id=%01%02;type=private', 'web'),
      'key.uri: a PKCS#11 URI starts with',
    ],
    [
      'no certificates',
      good(
        '  - chain: leaf.pem\n    key: { uri: "pkcs11:object=web;id=%01%02;type=private", hsms: [hsm-a] }',
        '  []',
      ),
      'listeners[0]: needs a certificate',
    ],
    [
      'routes and upstream',
      good('upstream: web }\n', 'upstream: web, routes: [{ upstream: web }] }\n'),
      'listeners[0]: must say where requests go',
    ],
    ['neither of them', good(', upstream: web }\n', ' }\n'), 'listeners[0]: must say where requests go'],
    [
      'a route path that is none',
      good('upstream: web }\n', 'routes: [{ match: { path: api }, upstream: web }] }\n'),
      'match.path: must start with "/"',
    ],
    [
      'a route host that is none',
      good('upstream: web }\n', 'routes: [{ match: { host: "a.*.b" }, upstream: web }] }\n'),
      'match.host: is no host to match',
    ],
    [
      'a name for an address',
      good('"127.0.0.1:8443"', 'localhost:8443'),
      'address: has a name for a host: write 127.0.0.1',
    ],
    ['an address without host', good('"127.0.0.1:8443"', '":8443"'), 'write 0.0.0.0 or [::]'],
    ['an address without port', good('"127.0.0.1:8443"', '"::1"'), 'has no port'],
    ['a port beyond the last', good('8443', '65536'), 'has port 65536'],
    [
      'the address of admin',
      `${GOOD}admin: { address: "127.0.0.1:8443" }\n`,
      'admin.address: is the address of listeners[0] already',
    ],
    ['h2c', good('http://127', 'h2c://127'), 'h2c:// is not supported yet'],
    ['https', good('http://127', 'https://127'), 'https:// is not supported yet'],
    ['another scheme', good('http://127', 'ftp://127'), 'ftp:// is not supported'],
    [
      'a server without scheme',
      good('http://127.0.0.1:9000', '127.0.0.1:9000'),
      'is no URL: write http://host:port',
    ],
    ['a server with a path', good(':9000', ':9000/api'), 'has a path or query'],
    ['a server with a query', good(':9000', ':9000?x=1'), 'has a path or query'],
    ['tcp without a port', good('http://127.0.0.1:9000', 'tcp://db'), 'has no port'],
    [
      'servers of two kinds',
      good('"http://127.0.0.1:9000"', '"http://a", "tcp://b:1"'),
      'mixes http:// and tcp://',
    ],
    [
      'a network that is none',
      good('upstream: web }\n', 'upstream: web, proxy_protocol: { from: ["10.0.0.0/33"] } }\n'),
      'listeners[0].proxy_protocol.from[0]: is no network',
    ],
    [
      'no networks',
      good('upstream: web }\n', 'upstream: web, proxy_protocol: { from: [] } }\n'),
      'proxy_protocol.from: is empty',
    ],
    [
      'tcp routes and upstream',
      tcp('upstream: web, routes: [{ upstream: web }]'),
      'listeners[0]: must say where the bytes go',
    ],
    ['neither for tcp', tcp('alpn: [h2]'), 'listeners[0]: must say where the bytes go'],
    [
      'a server name that is none',
      tcp('routes: [{ match: { server_name: "a.*" }, upstream: web }]'),
      'match.server_name: is no server name',
    ],
    [
      'a route for a protocol that is never agreed on',
      tcp('alpn: [h2], routes: [{ match: { alpn: mqtt }, upstream: web }]'),
      'match.alpn: "mqtt" is never agreed on',
    ],
    [
      'tcp servers for http',
      good('http://127', 'tcp://127'),
      'listeners[0].upstream: the servers of "web" are not http://',
    ],
  ])('with %s is refused', async (_, yaml, expected) => {
    const complaints = await fixture.complaints(yaml)

    expect(complaints).toHaveLength(1)
    expect(complaints[0]).toContain(expected)
  })

  test('with one address or one name for two listeners is refused', async () => {
    const complaints = await fixture.complaints(`listeners:
  - { address: "127.0.0.1:80", protocol: redirect, name: a }
  - { address: "127.0.0.1:80", protocol: redirect, name: a }
`)

    expect(complaints).toEqual([
      expect.stringContaining('listeners[1].address: 127.0.0.1:80 is the address of a already'),
      expect.stringContaining('another listener is named "a"'),
    ])
  })

  test('that is missing, empty, a directory or not UTF-8 is named', async () => {
    const file = join(fixture.directory, 'other.yaml')
    await expect(loadConfig(file)).rejects.toThrow(/other\.yaml: there is no such file; name/)
    await expect(loadConfig(fixture.directory)).rejects.toThrow(/is a directory/)
    writeFileSync(file, ' \n')
    await expect(loadConfig(file)).rejects.toThrow(/other\.yaml: is empty/)
    writeFileSync(file, Buffer.from([0x61, 0x3a, 0xff]))
    await expect(loadConfig(file)).rejects.toThrow(/is not UTF-8/)
  })

  test('that is a device, which may have no end, is refused without being read', async () => {
    await expect(loadConfig('/dev/zero')).rejects.toThrow(/\/dev\/zero: is neither a file nor a pipe; name/)
  })

  test('in a working directory that is gone is named as it was given', async () => {
    const before = process.cwd()
    const gone = mkdtempSync(join(fixture.directory, 'gone-'))
    process.chdir(gone)
    rmdirSync(gone)
    try {
      await expect(loadConfig('sealgate.yaml')).rejects.toThrow(/^sealgate\.yaml: .*working directory/)
    } finally {
      process.chdir(before)
    }
  })

  test('with aliases that multiply is refused before they do', async () => {
    const levels = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
    const bomb = levels.map((name, index) => {
      const previous = levels[index - 1]
      return `${name}: &${name} [${Array(10)
        .fill(previous === undefined ? 'x' : `*${previous}`)
        .join(', ')}]`
    })

    const [problem] = await fixture.problems(bomb.join('\n'))

    expect(problem).toMatchObject({ code: 'ERR_CONFIG_SYNTAX', message: expect.stringContaining('aliases') })
  })

  test.each([
    ['a tab', 'listeners:\n\t- x\n', 2],
    ['a key twice', 'listeners: []\nlisteners: []\n', 2],
    ['an open quote', 'listeners:\n  - "x', 2],
    ['a second document', 'listeners: []\n---\nlisteners: []\n', 2],
    ['an unknown tag', 'listeners: !x []\n', 1],
    ['an alias to nothing', 'hsms:\n  hsm-b: *nothing\n', 2],
    ['an alias before its anchor', 'hsms: *later\nx: &later {}\n', 1],
  ])('with %s is a syntax error with its line', async (_, yaml, line) => {
    const problems = await fixture.problems(yaml)

    expect(problems.length).toBeGreaterThan(0)
    expect(problems.every(({ code }) => code === 'ERR_CONFIG_SYNTAX')).toBe(true)
    expect(problems.map((problem) => problem.line)).toContain(line)
  })

  test('with keys that JavaScript knows is refused like any other', async () => {
    const complaints = await fixture.complaints(`${GOOD}constructor: 1\n__proto__: { x: 1 }\n`)

    expect(complaints.some((complaint) => complaint.startsWith('constructor: unknown key'))).toBe(true)
  })
})

describe('what is doubtful is served with a warning', () => {
  test('a PIN in the environment', async () => {
    process.env['SEALGATE_TEST_PIN'] = 'value'
    try {
      const { warnings, hsms } = await fixture.load(good('{ file: hsm.pin }', '{ env: SEALGATE_TEST_PIN }'))

      expect(hsms[0]?.pin).toEqual({ env: 'SEALGATE_TEST_PIN' })
      expect(warnings).toEqual([
        expect.stringMatching(/sealgate\.yaml:6:10: hsms\.hsm-a\.pin: .*environment/),
      ])
    } finally {
      delete process.env['SEALGATE_TEST_PIN']
    }
  })

  test('a PIN file that everybody may read', async () => {
    const file = join(fixture.directory, 'hsm.pin')
    chmodSync(file, 0o644)
    try {
      const { warnings } = await fixture.load(GOOD)

      expect(warnings).toEqual([expect.stringContaining(`chmod o-rwx ${file}`)])
    } finally {
      chmodSync(file, 0o600)
    }
  })

  test('HSMs and upstreams that nothing uses, and routes that nothing reaches', async () => {
    const { warnings } = await fixture.load(
      good('upstream: web }\n', 'routes: [{ upstream: web }, { match: { path: /a }, upstream: web }] }\n')
        .replace(
          'certificates:',
          '  idle: { module: module.so, token: x, pin: { file: hsm.pin } }\ncertificates:',
        )
        .concat('  api: { servers: ["http://api"] }\n'),
    )

    expect(warnings).toEqual([
      expect.stringContaining('hsms.idle: nothing uses it'),
      expect.stringContaining('listeners[0].routes[1]: is never reached'),
      expect.stringContaining('upstreams.api: nothing uses it'),
    ])
  })

  test('a PROXY header from everybody', async () => {
    const { warnings } = await fixture.load(
      good('upstream: web }\n', 'upstream: web, proxy_protocol: { from: ["::/0"] } }\n'),
    )

    expect(warnings).toEqual([expect.stringContaining('proxy_protocol.from[0]: is everybody')])
  })

  test('two certificates for one name with one key type', async () => {
    const entry = '  - { chain: leaf.pem, key: { uri: "pkcs11:object=b", hsms: [hsm-a] } }\n'

    const { warnings } = await fixture.load(good('listeners:', `${entry}listeners:`))

    expect(warnings).toEqual([expect.stringContaining('are both for "localhost"')])
  })
})
