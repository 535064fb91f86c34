/** Each file in config/ loads as it stands, with the development token of this checkout. */

import { existsSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { loadConfig } from '../../../src/config/load.ts'

const FOLDER = fileURLToPath(new URL('../../../config/', import.meta.url))
const TOKEN = fileURLToPath(new URL('../../../.sealgate/certs', import.meta.url))
const examples = readdirSync(FOLDER).filter((file) => file.endsWith('.yaml'))

test('there is a development token (npm run setup)', () => {
  expect(existsSync(TOKEN)).toBe(true)
})

test.each(examples)('%s loads without a warning', async (example) => {
  const config = await loadConfig(`${FOLDER}${example}`)

  expect(config.warnings).toEqual([])
  expect(config.certificates.every(({ certificate }) => certificate.names.includes('localhost'))).toBe(true)
})

test('config/README.md names each example', async () => {
  const { referenceText } = await import('../../../src/config/reference.ts')

  expect(examples.filter((example) => !referenceText().includes(`\`${example}\``))).toEqual([])
})
