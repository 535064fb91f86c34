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
