/** What a configuration says of its keys, also before it can be run. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { loadKeyInventory } from '../../../src/config/key-inventory.ts'
import { ConfigError } from '../../../src/errors.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealgate-inventory-'))
  writeFileSync(join(folder, 'module.so'), 'x')
  writeFileSync(join(folder, 'pin'), '1234\n', { mode: 0o600 })
})

afterEach(() => rmSync(folder, { recursive: true }))

function inventory(text: string) {
  const file = join(folder, 'sealgate.yaml')
  writeFileSync(file, text)
  return loadKeyInventory(file)
}

const HSMS = `hsms:
  a: &member { module: ./module.so, token: web, pin: { file: ./pin } }
  b: *member
`

test('a certificate that is not there yet, and listeners that are wrong, do not hide the keys', () => {
  const { hsms, uses } = inventory(`${HSMS}certificates:
  - chain: www.pem
    key: { uri: "pkcs11:object=www;type=private", hsms: [a, b] }
listeners: nonsense
`)

  expect(hsms.map(({ name }) => name)).toEqual(['a', 'b'])
  expect(uses).toMatchObject([
    {
      place: 'certificates[0]',
      chain: join(folder, 'www.pem'),
      certificate: undefined,
      key: { label: 'www', hsms: ['a', 'b'] },
    },
  ])
})

test('every place that names a key is found, whatever it is for', () => {
  const { uses, audit } = inventory(`${HSMS}audit:
  file: audit.jsonl
  checkpoint: { key: { uri: "pkcs11:id=%01;type=private", hsms: [a] }, public_key: audit.pub.pem }
tls:
  tickets: { shared: { file: tickets, key: { uri: "pkcs11:object=tickets;type=secret-key", hsms: [b] } } }
`)

  expect(uses.map(({ place, key }) => [place, key.uri])).toEqual([
    ['audit.checkpoint', 'pkcs11:id=%01;type=private'],
    ['tls.tickets.shared', 'pkcs11:object=tickets;type=secret-key'],
  ])
  expect(audit?.file).toBe(join(folder, 'audit.jsonl'))
})

test('an HSM that is wrong, and a key that names none, are told with their place', () => {
  const wrong = () =>
    inventory(`hsms:
  a: { modul: ./module.so, token: web, pin: { file: ./pin } }
certificates:
  - chain: www.pem
    key: { uri: "pkcs11:object=www;type=private", hsms: [c] }
`)

  expect(wrong).toThrow(ConfigError)
  expect(wrong).toThrow(/sealgate\.yaml:2:\d+: hsms\.a\.modul: unknown key; did you mean "module"/)
  expect(wrong).toThrow(/certificates\[0\]\.key\.hsms\[0\]: there is no "c" in hsms/)
})
