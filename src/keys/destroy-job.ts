/** Destroys a key and its public half. */

import { CK } from '../hsm/host/pkcs11.ts'
import type { TokenJob } from '../token/job.ts'
import { keyNameSchema } from './key-facts.ts'
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
    for (const each of publicHalves) module.destroyObject(session, each)
    return { token: tokenFacts(token), key: facts, publicHalves: publicHalves.length }
  },
}
