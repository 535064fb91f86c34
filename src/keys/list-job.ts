/** Reads what keys a token has. */

import type { TokenJob } from '../token/job.ts'
import { allKeys, tokenFacts } from './token-key.ts'

export const job: TokenJob = {
  opens: 'logged-in',
  run(token) {
    const { keys, more } = allKeys(token, MAX_KEYS)
    return { token: tokenFacts(token), keys: keys.map(({ facts }) => facts), more }
  },
}

// A token with more is a store for other things; each costs some calls to read.
const MAX_KEYS = 1000
