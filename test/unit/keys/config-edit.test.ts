import { expect, test } from 'vitest'
import { edited } from '../../../src/keys/config-edit.ts'

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
