/** A PIN or private key never comes out of the configuration: not in a Config, not in an error, wherever it was written. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ConfigError } from '../../../src/errors.ts'
import { type ConfigFixture, configFixture, GOOD, good, PIN, privateKeyText } from './config-fixture.ts'

let fixture: ConfigFixture
beforeAll(() => {
  fixture = configFixture()
})
afterAll(() => fixture[Symbol.dispose]())

test('a loaded configuration does not hold the PIN of its file', async () => {
  const config = await fixture.load(GOOD)

  expect(everything(config)).not.toContain(PIN)
})

test.each([
  ['as the PIN', good('{ file: hsm.pin }', PIN)],
  ['as the PIN, quoted', good('{ file: hsm.pin }', `"${PIN}"`)],
  ['as the PIN, in a list', good('{ file: hsm.pin }', `[${PIN}]`)],
  ['as a key of its own', good('{ file: hsm.pin }', `{ value: ${PIN} }`)],
  ['as a key', good('{ file: hsm.pin }', `{ ${PIN} }`)],
  ['in a template that nobody has filled in', good('{ file: hsm.pin }', `{{ ${PIN} }}`)],
  ['as the name of a variable', good('{ file: hsm.pin }', `{ env: ${PIN} }`)],
  ['in the URI', good('type=private', `type=private?pin-value=${PIN}`)],
  [
    'in the URI for one HSM',
    good('hsms: [hsm-a]', `hsms: [hsm-a], uris: { hsm-a: "pkcs11:id=%01?pin-value=${PIN}" }`),
  ],
  ['in a URI that is wrong otherwise', good('type=private', `type=private?pin-value=${PIN}&x`)],
  ['in a path attribute of the URI', good('type=private', `pin-value=${PIN}`)],
  ['in the URL of a server', good('http://127', `http://user:${PIN}@127`)],
  ['beside a syntax error', good('{ file: hsm.pin }', `"${PIN}" "${PIN}"`)],
  ['behind a bad escape', good('{ file: hsm.pin }', `"\\q${PIN}"`)],
  ['as an alias', good('{ file: hsm.pin }', `*${PIN}`)],
  ['as a tag', good('{ file: hsm.pin }', `!${PIN} x`)],
  ['in an open quote', good('{ file: hsm.pin }', `"${PIN}`)],
])('a PIN written %s is refused and not repeated', async (_, yaml) => {
  const error = await fixture.load(yaml).catch((reason: unknown) => reason)

  expect(error).toBeInstanceOf(ConfigError)
  expect(everything(error)).not.toContain(PIN)
})

test('the parser writes nothing of it to standard error by itself', async () => {
  const warnings: string[] = []
  const listener = ({ message }: Error) => warnings.push(message)
  process.on('warning', listener)

  await fixture.load(good('{ file: hsm.pin }', `{{ ${PIN} }}`)).catch(() => {})
  await new Promise((resolve) => setImmediate(resolve))

  process.off('warning', listener)
  expect(warnings).toEqual([])
})

test('a slip in `file` is no secret', async () => {
  const [problem] = await fixture.problems(good('{ file: hsm.pin }', '{ fiel: hsm.pin }'))

  expect(problem).toMatchObject({ path: 'hsms.hsm-a.pin.fiel', message: expect.stringContaining('"file"') })
})

test('a literal PIN is answered with the cure', async () => {
  const [problem] = await fixture.problems(good('{ file: hsm.pin }', '1234'))

  expect(problem).toMatchObject({
    code: 'ERR_CONFIG_SECRET',
    path: 'hsms.hsm-a.pin',
    line: 6,
    message: expect.stringContaining('pin: { file: /run/secrets/hsm.pin }'),
  })
})

test('a private key in a chain file is refused and not repeated', async () => {
  const key = privateKeyText(fixture.directory)
  writeFileSync(join(fixture.directory, 'with-key.pem'), key)

  const error = await fixture.load(good('leaf.pem', 'with-key.pem')).catch((reason: unknown) => reason)

  expect(error).toMatchObject({ code: 'ERR_CONFIG_SECRET' })
  expect(everything(error)).not.toContain(key.split('\n')[1])
})

/** All that a log, a debugger or a careless template could show. */
function everything(value: unknown): string {
  const text = value instanceof Error ? `${value.message}\n${value.stack}\n${value.cause}` : ''
  return `${text}\n${JSON.stringify(value)}\n${inspect(value, { depth: null, showHidden: true })}`
}
