/** Names of all return values of the standard, but CKR_OK: what a module may say. */

import { returnValue } from '../../../src/hsm/ckr.ts'

export const CKR_NAMES: readonly string[] = Array.from(
  { length: 0x400 },
  (_, rv) => returnValue(rv).name,
).filter((name) => name.startsWith('CKR_') && name !== 'CKR_OK')
