/** What a key may hope for, from what its members say. */

import { expect, test } from 'vitest'
import { HsmError } from '../../../src/errors.ts'
import { type HolderOutlook, keyOutlook } from '../../../src/hsm/outlook.ts'

const READY: HolderOutlook = { ready: true, final: false, problem: undefined }
const STARTING: HolderOutlook = { ready: false, final: false, problem: undefined }

function trouble(
  code: ConstructorParameters<typeof HsmError>[0],
  { final = false, ...facts }: { rv?: number; final?: boolean } = {},
): HolderOutlook {
  return { ready: false, final, problem: new HsmError(code, code, facts) }
}

test('one member that signs makes the key ready, and the troubles of the others are told', () => {
  const { state, problems } = keyOutlook([trouble('ERR_HSM_KEY_MISMATCH'), READY, STARTING])

  expect(state).toBe('ready')
  expect(problems.map(({ code }) => code)).toEqual(['ERR_HSM_KEY_MISMATCH'])
})

test.each([
  ['a member that is still starting', STARTING],
  ['a token that is not there', trouble('ERR_HSM_TOKEN_NOT_FOUND')],
  ['a module whose C_Initialize fails', trouble('ERR_HSM_MODULE', { rv: 0x30 })],
  ['a host that ended', trouble('ERR_HSM_HOST_EXITED')],
  ['an HSM that fails', trouble('ERR_HSM_FAILED', { rv: 0x30 })],
])('%s may heal, beside members that cannot', (_, holder) => {
  const hopeless = trouble('ERR_HSM_PIN', { rv: 0xa0, final: true })

  expect(keyOutlook([trouble('ERR_HSM_KEY_NOT_FOUND'), hopeless, holder]).state).toBe('waiting')
})

test.each([
  ['a library that does not load', trouble('ERR_HSM_MODULE')],
  ['a key that is not there', trouble('ERR_HSM_KEY_NOT_FOUND')],
  ["a key that is not the certificate's", trouble('ERR_HSM_KEY_MISMATCH')],
])('%s needs a person', (_, holder) => {
  expect(keyOutlook([holder, holder]).state).toBe('misconfigured')
})

test('a PIN that was refused by every member is the end', () => {
  const refused = trouble('ERR_HSM_PIN', { rv: 0xa0, final: true })

  expect(keyOutlook([refused, refused]).state).toBe('given-up')
})
