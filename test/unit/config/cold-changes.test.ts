/** Which changes a running proxy refuses, each with its line, and which it takes. */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { changedSections, coldChanges } from '../../../src/config/cold-changes.ts'
import { type ConfigFixture, configFixture, GOOD } from './config-fixture.ts'

let fixture: ConfigFixture

beforeAll(() => {
  fixture = configFixture()
})

afterAll(() => fixture[Symbol.dispose]())

const HTTP = '{ address: "127.0.0.1:8443", protocol: http, upstream: web }'
const listener = (changed: string) => GOOD.replace(HTTP, changed)

test.each([
  ['an address', listener(HTTP.replace('8443', '9443')), 'listeners[0].address'],
  ['a protocol', listener('{ address: "127.0.0.1:8443", protocol: redirect }'), 'listeners[0].protocol'],
  ['a listener more', listener(`${HTTP}\n  - { address: "127.0.0.1:80", protocol: redirect }`), 'listeners'],
  ['another name', listener(HTTP.replace('{', '{ name: other,')), 'listeners'],
  [
    'who may send PROXY headers',
    listener(HTTP.replace('{', '{ proxy_protocol: { from: [10.0.0.0/8] },')),
    'listeners[0].proxy_protocol',
  ],
  [
    'a limit of connections',
    listener(HTTP.replace('{', '{ max_connections: 5,')),
    'listeners[0].max_connections',
  ],
  [
    'a limit of handshakes',
    listener(HTTP.replace('{', '{ max_handshakes: 5,')),
    'listeners[0].max_handshakes',
  ],
  [
    'a limit of connections of one client',
    listener(HTTP.replace('{', '{ max_connections_per_address: 5,')),
    'listeners[0].max_connections_per_address',
  ],
  ['keep-alive', listener(HTTP.replace('{', '{ keep_alive: 5s,')), 'listeners[0].keep_alive'],
  ['the time for handshakes', `${GOOD}tls: { handshake_timeout: 3s }\n`, 'tls.handshake_timeout'],
  ['the rotation of ticket keys', `${GOOD}tls: { ticket_rotation: 1h }\n`, 'tls.ticket_rotation'],
  ['the admin address', `${GOOD}admin: off\n`, 'admin'],
  ['threads', `${GOOD}threads: { tls: 17 }\n`, 'threads'],
  ['the audit log', `${GOOD}audit: { file: audit.jsonl }\n`, 'audit'],
])('%s needs a restart', async (_, text, path) => {
  const [now, next] = [await fixture.load(GOOD), await fixture.load(text)]

  const problems = coldChanges(now, next)

  expect(problems.map((problem) => problem.path)).toContain(path)
  for (const { code, line, message } of problems) {
    expect(code).toBe('ERR_CONFIG_RESTART')
    expect(line).toBeGreaterThan(1)
    expect(message).toMatch(/restart/)
  }
})

test('all that needs a restart is told at once', async () => {
  const text = `${listener(HTTP.replace('8443', '9443'))}admin: off\nthreads: { tls: 17 }\n`

  const problems = coldChanges(await fixture.load(GOOD), await fixture.load(text))

  expect(problems.map(({ path }) => path)).toEqual(['admin', 'threads', 'listeners[0].address'])
})

test.each([
  [
    'routes and upstreams',
    GOOD.replaceAll('web', 'app').replace('object=app', 'object=web').replace('app-a', 'web-a'),
  ],
  ['TLS policies', listener(HTTP.replace('{', '{ tls: { policy: modern },'))],
  ['HSMs', GOOD.replace('token: web-a', 'slot: 7')],
  ['the key', GOOD.replace('object=web', 'object=new')],
  ['deadlines', `${GOOD}signing: { timeout: 1s }\ndrain_timeout: 1s\n`],
  ['limits of full handshakes', `${GOOD}limits: { full_handshakes: { per_second: 5 } }\n`],
  ['logging', `${GOOD}log: { level: debug, access: false }\n`],
  ['headers of requests', listener(HTTP.replace('{', '{ max_header: 8KiB, header_timeout: 5s,'))],
  ['what is watched', `${GOOD}reload: { watch: off }\n`],
])('%s are hot', async (_, text) => {
  const [now, next] = [await fixture.load(GOOD), await fixture.load(text)]

  expect(coldChanges(now, next)).toEqual([])
  expect(changedSections(now, next)).not.toEqual([])
})

test('a comment changes no section', async () => {
  const [now, next] = [await fixture.load(GOOD), await fixture.load(`# new\n${GOOD}`)]

  expect(changedSections(now, next)).toEqual([])
})
