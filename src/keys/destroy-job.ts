/** Destroys a key and its public half. */

import { CKR } from '../hsm/ckr.ts'
import { CK, type Handle, Pkcs11Error } from '../hsm/host/pkcs11.ts'
import { Problem } from '../hsm/host/problem.ts'
import type { Token } from '../hsm/host/token.ts'
import type { TokenJob } from '../token/job.ts'
import { keyNameSchema, keyNameText, type TokenKey } from './key-facts.ts'
import { objects, theKeyNamed, tokenFacts } from './token-key.ts'

export const job: TokenJob = {
  opens: 'logged-in',
  run(token, context) {
    const { module, session } = token
    const { handle, facts } = theKeyNamed(token, keyNameSchema.parse(context.args))
    // Found before, and only where nobody else can be meant: the same id, or the same label if there is no id.
    const name = facts.id === '' ? { label: facts.label, id: null } : { label: null, id: facts.id }
    const alone = objects(token, CK.CKO_PRIVATE_KEY, name).length === 1
    const publicHalves = facts.kind === 'private' && alone ? objects(token, CK.CKO_PUBLIC_KEY, name) : []
    module.destroyObject(session, handle)
    for (const each of publicHalves) destroyPublicHalf(token, each, facts)
    return { token: tokenFacts(token), key: facts, publicHalves: publicHalves.length }
  },
}

/** One that has gone by itself, with the private key or in between, is as it should be. */
function destroyPublicHalf({ module, session, label }: Token, handle: Handle, key: TokenKey): void {
  try {
    module.destroyObject(session, handle)
  } catch (cause) {
    if (!(cause instanceof Pkcs11Error)) throw cause
    if (cause.rv === CKR.OBJECT_HANDLE_INVALID) return
    throw new Problem(
      'ERR_HSM_FAILED',
      `the key ${keyNameText(key)} on token "${label}" was destroyed, but not its public half: ${cause.message}`,
      { cause },
    )
  }
}
