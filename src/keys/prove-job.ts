/** Has a key make a test signature with each scheme that TLS could ask for. */

import type { TokenJob } from '../token/job.ts'
import { keyNameSchema } from './key-facts.ts'
import { proveKey } from './sign-with-token.ts'
import { theKeyNamed, tokenFacts } from './token-key.ts'

export const job: TokenJob = {
  opens: 'logged-in',
  run(token, context) {
    const key = theKeyNamed(token, keyNameSchema.parse(context.args))
    return { token: tokenFacts(token), key: key.facts, schemes: proveKey(token, key) }
  },
}
