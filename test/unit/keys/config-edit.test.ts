import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { edited, putInPlace } from '../../../src/keys/config-edit.ts'
import { Site } from '../../support/site.ts'

const TEXT = `# who runs this: the web team
hsms: {}
certificates:
  - chain:   old.pem      # issued by hand

    key: { uri: 'pkcs11:object=old;type=private', hsms: [a,   b] }   # two
`

test('two values change, and no other byte', () => {
  const { text, changes } = edited('sealgate.yaml', TEXT, [
    { path: ['certificates', 0, 'chain'], value: 'new.pem' },
    { path: ['certificates', 0, 'key', 'uri'], value: 'pkcs11:object=new;type=private' },
  ])

  expect(text).toBe(
    TEXT.replace('old.pem', '"new.pem"').replace(
      "'pkcs11:object=old;type=private'",
      '"pkcs11:object=new;type=private"',
    ),
  )
  expect(changes.map(({ line }) => line)).toEqual([4, 6])
  expect(changes[0]).toMatchObject({
    before: '  - chain:   old.pem      # issued by hand',
    after: '  - chain:   "new.pem"      # issued by hand',
  })
})

test('a value that stands elsewhere is left to people', () => {
  const text = 'x: &uri pkcs11:object=a\ncertificates:\n  - key: { uri: *uri }\n'

  expect(() =>
    edited('sealgate.yaml', text, [{ path: ['certificates', 0, 'key', 'uri'], value: 'pkcs11:object=b' }]),
  ).toThrow(/certificates\.0\.key\.uri is written elsewhere.*by hand to pkcs11:object=b/)
})

test.each([
  ['the map of the key', '    key: &web { uri: a, hsms: [x] }\n  - chain: b.pem\n    key: *web\n', '&web', 5],
  [
    'the value alone',
    '    key: { uri: &web a, hsms: [x] }\n  - chain: b.pem\n    key: { uri: *web }\n',
    '&web',
    5,
  ],
  ['the one of two anchors of a name that is meant', '    key: &k { uri: a }\nx: *k\ny: &k 1\n', '&k', 4],
])('a value that stands elsewhere as well is left to people: %s', (_, rest, anchor, line) => {
  const text = `certificates:\n  - chain: a.pem\n${rest}`

  expect(() =>
    edited('sealgate.yaml', text, [{ path: ['certificates', 0, 'key', 'uri'], value: 'b' }]),
  ).toThrow(
    `sealgate.yaml, line 3: certificates[0].key.uri is under the anchor ${anchor}, which line ${line} refers to (${anchor.replace('&', '*')})`,
  )
})

test('a whole entry that stands elsewhere as well is left to people', () => {
  const text = 'certificates:\n  - &one\n    chain: a.pem\n    key: { uri: a }\n  - *one\n'

  expect(() => edited('sealgate.yaml', text, [{ path: ['certificates', 0, 'chain'], value: 'b' }])).toThrow(
    'line 3: certificates[0].chain is under the anchor &one, which line 5 refers to (*one): write it out there',
  )
})

test('an anchor that nobody refers to, or that is another one, is no obstacle', () => {
  const text = 'x: &k 1\ny: *k\ncertificates:\n  - key: &k { uri: &u a, hsms: &h [x] }\n    hsms: *h\n'
  const path = ['certificates', 0, 'key', 'uri']

  expect(edited('sealgate.yaml', text, [{ path, value: 'b' }]).text).toBe(text.replace('&u a', '&u "b"'))
})

test('a configuration that somebody has changed since it was read is left as it is now', async () => {
  using site = new Site()
  const file = join(site.directory, 'sealgate.yaml')
  const before = JSON.stringify(site.config([9]))
  const change = edited(file, before, [
    { path: ['certificates', 0, 'key', 'uri'], value: 'pkcs11:object=new;type=private' },
  ])
  const others = before.replace('"listeners"', ' "listeners"')
  writeFileSync(file, others)

  await expect(putInPlace(file, change)).rejects.toThrow(/somebody has changed .*sealgate\.yaml meanwhile/)

  expect(readFileSync(file, 'utf8')).toBe(others)
  writeFileSync(file, before)
  expect(readFileSync((await putInPlace(file, change)) ?? '', 'utf8')).toBe(before)
  expect(readFileSync(file, 'utf8')).toBe(change.text)
})
