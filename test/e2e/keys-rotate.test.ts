/** A rotation that is interrupted, done by hand, or given up. */

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Rotation } from '../../src/keys/rotation-state.ts'
import { KeyOwner } from '../support/key-owner.ts'

let owner: KeyOwner

beforeEach(async () => {
  owner = await KeyOwner.create(NOBODY)
})

afterEach(() => owner?.[Symbol.dispose]())

test('a rotation that was interrupted goes on where it was, with the key that it had made', async () => {
  await owner.birth()
  await owner.keys('rotate')
  const state = join(owner.directory, 'sealgate.yaml.rotation.www.pem.json')
  const made = JSON.parse(readFileSync(state, 'utf8'))
  // As after a kill between the work and the note of it.
  writeFileSync(
    state,
    JSON.stringify({ ...made, step: 'planned', new: { ...made.new, key: { ...made.new.key, spki: null } } }),
  )

  const again = await owner.keysJson('rotate')

  expect(again.rotation.new.key).toEqual(made.new.key)
  const { hsms } = await owner.keysJson('list')
  expect(hsms[0].keys).toHaveLength(2)
  expect((await owner.keys('rotate', '--status')).stdout).toMatch(/www\.pem: requested/)
  const inUse = await owner.refused(
    ['destroy', '--label', made.new.key.label, '--confirm', made.new.key.label],
    78,
  )
  expect(inUse).toMatch(/a rotation needs the key/)
}, 180_000)

test('with --print nothing is changed, and the change that somebody has made is taken up', async () => {
  await owner.birth()
  await owner.keys('rotate', '--overlap', '1s')
  await owner.certify(owner.requestFile(), 'second.pem')
  const before = readFileSync(owner.config, 'utf8')

  const printed = await owner.keys('rotate', '--chain', join(owner.directory, 'second.pem'), '--print')

  expect(readFileSync(owner.config, 'utf8')).toBe(before)
  const changes = [...printed.stdout.matchAll(/ {2}- (.*)\n {2}\+ (.*)\n/g)]
  expect(changes).toHaveLength(2)
  const byHand = changes.reduce((text, [, from = '', to = '']) => text.replace(from, to), before)
  writeFileSync(owner.config, byHand)
  expect((await owner.keys('rotate', '--in-force')).stdout).toMatch(
    /in force: .*\nWaits for the end of the overlap/,
  )
  expect(await owner.untilRetired('--in-force')).toContain('The rotation has ended')
}, 180_000)

test('a key that two certificates share by an anchor is not switched for one of them, nor destroyed', async () => {
  await owner.birth()
  copyFileSync(join(owner.directory, 'www.pem'), join(owner.directory, 'b.pem'))
  const shared = readFileSync(owner.config, 'utf8').replace(
    /key: (\{.*\})\n/,
    'key: &web $1\n  - { chain: b.pem, key: *web }\n',
  )
  writeFileSync(owner.config, shared)
  const www = join(owner.directory, 'www.pem')
  const begun = await owner.keysJson('rotate', '--certificate', www)
  await owner.certify(owner.requestFile(), 'second.pem')

  const refused = await owner.refused(['rotate', '--chain', join(owner.directory, 'second.pem')], 69)

  expect(refused).toMatch(
    /sealgate\.yaml, line \d+: certificates\[0\]\.key\.uri is under the anchor &web, which line \d+ refers to \(\*web\): write it out there/,
  )
  expect(readFileSync(owner.config, 'utf8')).toBe(shared)
  // As somebody does it by hand, and forgets the other one.
  const { uri, chain } = begun.rotation.new
  writeFileSync(
    owner.config,
    shared.replace('chain: www.pem', `chain: ${chain}`).replace(/"pkcs11:[^"]*"/, `"${uri}"`),
  )
  await owner.keys('rotate', '--in-force')
  const retire = ['rotate', '--retire', '--early', '--confirm', 'www', '--in-force']
  expect(await owner.refused(retire, 78)).toMatch(/uses the old key "www".* in certificates\[1\]/)
  await owner.keys('rotate', '--keep-old-key')
  expect(await owner.refused(['destroy', '--label', 'www', '--confirm', 'www'], 78)).toMatch(
    /uses the key "www".*: certificates\[1\]/,
  )
  const { hsms } = await owner.keysJson('list')
  expect(hsms[0].keys.map(({ label }: { label: string }) => label)).toContain('www')
}, 180_000)

test('a rotation that is given up leaves the old key and the configuration', async () => {
  await owner.birth()
  const before = readFileSync(owner.config, 'utf8')
  const begun = await owner.keysJson('rotate')

  await owner.refused(['rotate', '--abort', '--confirm', 'www'], 64)
  const abandoned = await owner.keys('rotate', '--abort', '--confirm', begun.rotation.new.key.label)

  expect(abandoned.stdout).toContain('was destroyed')
  const { hsms } = await owner.keysJson('list')
  expect(hsms[0].keys.map(({ label }: { label: string }) => label)).toEqual(['www'])
  expect(readFileSync(owner.config, 'utf8')).toBe(before)
  // Its request may be at a CA: the next one leaves that where it is.
  const next = await owner.keysJson('rotate')
  expect(next.rotation.new.csr).not.toBe(begun.rotation.new.csr)
}, 180_000)

test('a new key that the configuration names already is not destroyed, whatever the state says', async () => {
  await owner.birth()
  const begun = await owner.keysJson('rotate')
  const { label } = begun.rotation.new.key
  await owner.certify(owner.requestFile(), 'second.pem')
  const printed = await owner.keys('rotate', '--chain', join(owner.directory, 'second.pem'), '--print')
  const changes = [...printed.stdout.matchAll(/ {2}- (.*)\n {2}\+ (.*)\n/g)]
  // As by hand, or by a run that was ended before it could write down what it had done.
  const before = readFileSync(owner.config, 'utf8')
  writeFileSync(
    owner.config,
    changes.reduce((text, [, from = '', to = '']) => text.replace(from, to), before),
  )

  const refused = await owner.refused(['rotate', '--abort', '--confirm', label], 78)

  expect(refused).toMatch(/uses the new key .* in certificates\[0\]/)
  const { hsms } = await owner.keysJson('list')
  expect(hsms[0].keys.map((key: { label: string }) => key.label)).toContain(label)
}, 180_000)

test('what a rotation was begun with is not changed by the way', async () => {
  await owner.birth()
  expect(await owner.refused(['rotate', '--type', 'aes-256'], 64)).toMatch(
    /--type aes-256: .*there are: p-256/,
  )
  expect((await owner.keys('rotate', '--status')).stdout).toContain('No rotation is under way')
  await owner.keys('rotate', '--label', 'www-next')

  for (const [option, value, reason] of [
    ['--type', 'rsa-2048', /was begun with --type p-256/],
    ['--label', 'www-other', /was begun with --label www-next/],
    ['--out', join(owner.directory, 'other.csr'), /was begun with --out .*\.csr/],
  ] as const)
    expect(await owner.refused(['rotate', option, value], 64)).toMatch(reason)
  await owner.keys('rotate', '--type', 'p-256', '--label', 'www-next')
}, 180_000)

test('certificates whose files have one name in different folders have a rotation each', async () => {
  await owner.birth()
  const [first, second] = ['first', 'second'].map((name) => join(owner.directory, name, 'fullchain.pem'))
  for (const file of [first, second]) {
    mkdirSync(dirname(file ?? ''))
    copyFileSync(join(owner.directory, 'www.pem'), file ?? '')
  }
  const text = readFileSync(owner.config, 'utf8')
  const entry = (chain = '') =>
    `  - { chain: ${chain}, key: { uri: "pkcs11:object=www;type=private", hsms: [hsm-a, hsm-b] } }\n`
  writeFileSync(owner.config, text.replace(/ {2}- chain: www.*\n.*\n/, entry(first) + entry(second)))
  await owner.keys('rotate', '--certificate', first ?? '', '--label', 'www-first')

  await owner.keys('rotate', '--certificate', second ?? '', '--label', 'www-second')

  const { rotations } = await owner.keysJson('rotate', '--status')
  expect(rotations.map(({ rotation }: { rotation: Rotation }) => rotation.old.chain).toSorted()).toEqual([
    first,
    second,
  ])
  expect(new Set(rotations.map(({ rotation }: { rotation: Rotation }) => rotation.new.key.label)).size).toBe(
    2,
  )
}, 180_000)

/** No proxy runs here, so nobody asks the upstream. */
const NOBODY = 9
