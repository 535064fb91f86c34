/** `tls.tickets.shared`: what it becomes, and what is said about mistakes in it. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { configFixture, GOOD } from './config-fixture.ts'

const fixture = configFixture()
const { directory, load, problems, complaints } = fixture
afterAll(() => fixture[Symbol.dispose]())

writeFileSync(join(directory, 'redis.password'), 'never-to-be-seen\n', { mode: 0o600 })
writeFileSync(
  join(directory, 'redis-ca.pem'),
  '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n',
)
mkdirSync(join(directory, 'tickets'))
const KEY = 'key: { uri: "pkcs11:object=tickets;type=secret-key", hsms: [hsm-a] }'
const shared = (place: string, key = KEY): string =>
  `${GOOD}tls:\n  tickets:\n    shared:\n      ${place}\n      ${key}\n`
const redis = (...fields: readonly string[]): string => shared(`redis: { ${fields.join(', ')} }`)

test('nothing is shared unless it is asked for, and no HSM is told of a key', async () => {
  const { sharedTickets, hsms } = await load(GOOD)

  expect(sharedTickets).toBeUndefined()
  expect(hsms[0]?.wrappingKey).toBeUndefined()
})

test.each([
  ['file: tickets/keys', 'tickets/keys'],
  ['directory: tickets', 'tickets/ticket-keys'],
])('%s is a path; the HSM learns of the key', async (place, file) => {
  const { sharedTickets, hsms, warnings } = await load(shared(place))

  expect(sharedTickets).toMatchObject({
    place: { kind: 'file', file: join(directory, file) },
    key: { uri: 'pkcs11:object=tickets;type=secret-key', label: 'tickets', hsms: ['hsm-a'] },
  })
  expect(hsms[0]?.wrappingKey).toMatchObject({ label: 'tickets' })
  expect(warnings).toEqual([])
})

test('Redis: the password stays where it is', async () => {
  const url = 'url: "rediss://redis.example:6380/2"'
  const config = await load(
    redis(url, 'password: { file: redis.password }', 'username: sealgate', 'ca: redis-ca.pem'),
  )

  expect(config.sharedTickets?.place).toEqual({
    kind: 'redis',
    url: 'rediss://redis.example:6380/2',
    key: 'sealgate:ticket-keys',
    username: 'sealgate',
    password: { file: join(directory, 'redis.password') },
    ca: expect.stringContaining('BEGIN CERTIFICATE'),
    serverName: undefined,
  })
  expect(JSON.stringify(config)).not.toContain('never-to-be-seen')
})

test.each([
  ['{}', 'tls.tickets.shared.key: is missing'],
  [`{ ${KEY} }`, 'tls.tickets.shared: names no place: give one of file, directory and redis'],
  [
    `{ file: a, directory: b, ${KEY} }`,
    'tls.tickets.shared: names file and directory: give one of file, directory and redis',
  ],
  [`{ fil: a, ${KEY} }`, 'tls.tickets.shared.fil: unknown key; did you mean "file"?'],
])('shared: %s', async (text, complaint) => {
  expect(await complaints(`${GOOD}tls: { tickets: { shared: ${text} } }\n`)).toContain(complaint)
})

test.each([
  [
    'key: { uri: "pkcs11:object=t;type=private", hsms: [hsm-a] }',
    'names no secret key: write type=secret-key',
  ],
  ['key: { uri: "pkcs11:type=secret-key", hsms: [hsm-a] }', 'names no object'],
  ['key: { uri: "pkcs11:object=t", hsms: [hsm-b] }', 'there is no "hsm-b" in hsms'],
  ['key: { uri: "pkcs11:object=t", hsms: [] }', 'is empty: name at least one of hsms'],
  ['key: { uri: "pkcs11:object=t;pin-value=4711", hsms: [hsm-a] }', 'holds a PIN (pin-value)'],
])('%s', async (key, complaint) => {
  const found = (await complaints(shared('directory: tickets', key))).join('\n')

  expect(found).toContain(complaint)
  expect(found).not.toContain('4711')
})

test.each([
  ['url: "http://redis:6379"', 'tls.tickets.shared.redis.url: is no URL of a Redis'],
  ['url: "redis"', 'tls.tickets.shared.redis.url: is no URL of a Redis'],
  ['url: "redis://redis:6379/a"', 'url: has more than a host, a port and the number of a database'],
  ['url: "redis://redis:6379?x=1"', 'url: has more than a host, a port and the number of a database'],
  ['url: "redis://u:s3cret@redis:6379"', 'url: holds a user or password'],
  ['url: "redis://redis", password: s3cret', 'password: the password is not written here'],
  ['url: "redis://redis", password: {}', 'password: must say where the password is, once'],
  ['url: "redis://redis", password: { file: nowhere }', 'password.file: '],
  ['url: "redis://redis", password: { env: SEALGATE_TEST_UNSET }', 'SEALGATE_TEST_UNSET is not set or empty'],
  ['url: "redis://redis", ca: redis-ca.pem', 'ca: is for TLS: write rediss:// in url'],
  ['url: "redis://redis", server_name: a', 'server_name: is for TLS: write rediss:// in url'],
  ['url: "rediss://redis", ca: redis.password', 'holds no certificate in PEM'],
  ['url: "rediss://redis", ca: nowhere', 'there is no such file'],
])('redis: %s', async (fields, complaint) => {
  const found = await problems(redis(fields))
  const text = found.map(({ path, message }) => `${path}: ${message}`).join('\n')

  expect(text).toContain(complaint)
  expect(JSON.stringify(found)).not.toMatch(/s3cret|never-to-be-seen/)
  if (/s3cret|password/.test(fields) && !/ca:/.test(fields)) expect(found[0]?.code).toBe('ERR_CONFIG_SECRET')
})
