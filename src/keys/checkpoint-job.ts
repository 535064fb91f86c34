/** Has the checkpoint key sign the head of the journal. What is signed is built here, and is nothing else. */

import { z } from 'zod'

import { checkpointMessage } from '../audit/checkpoint-message.ts'
import { Problem } from '../hsm/host/problem.ts'
import { offeredSchemes } from '../hsm/mechanism.ts'
import { keyFacts } from '../hsm/public-key.ts'
import type { TokenJob } from '../token/job.ts'
import { keyNameSchema } from './key-facts.ts'
import { signWithToken, withPublicHalf } from './sign-with-token.ts'
import { theKeyNamed } from './token-key.ts'

const checkpointArgs = z.object({
  key: keyNameSchema,
  head: z.object({ seq: z.number().int().positive(), hash: z.string().regex(/^[0-9a-f]{64}$/) }),
})
export type CheckpointArgs = z.infer<typeof checkpointArgs>

export const job: TokenJob = {
  opens: 'logged-in',
  run(token, context) {
    const { key: name, head } = checkpointArgs.parse(context.args)
    const key = withPublicHalf(token, theKeyNamed(token, name))
    const [scheme] = offeredSchemes(keyFacts(key.spki), token.mechanisms)
    if (scheme === undefined)
      throw new Problem('ERR_HSM_MECHANISM', `token "${token.label}" cannot sign with the checkpoint key`)
    const signature = signWithToken(token, key, scheme, checkpointMessage(head))
    return { scheme: scheme.name, signature: signature.toString('base64') }
  },
}
