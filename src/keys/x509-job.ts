/**
 * Has a key sign a request for a certificate, or a certificate of its own.
 *
 * What is signed is built here, from names and dates: this process has no way to have anything else signed. It does not go
 * through the host of a running proxy, which signs handshakes only (`hsm/host/key-use-policy.ts`).
 */

import { z } from 'zod'

import { Problem } from '../hsm/host/problem.ts'
import type { TokenJob } from '../token/job.ts'
import { keyNameSchema } from './key-facts.ts'
import { signWithToken, withPublicHalf } from './sign-with-token.ts'
import { theKeyNamed, tokenFacts } from './token-key.ts'
import { certificateScheme } from './x509/signature-algorithm.ts'
import { certificationRequest, selfIssuedCertificate, signedStructure } from './x509/to-be-signed.ts'

const x509Args = z.object({
  key: keyNameSchema,
  subject: z.array(z.object({ type: z.string(), value: z.string() })),
  names: z.array(z.object({ kind: z.enum(['dns', 'ip', 'uri', 'email']), value: z.string() })),
  /** null: a request. */
  validity: z.object({ notBeforeMs: z.number(), notAfterMs: z.number() }).nullable(),
})
export type X509Args = z.infer<typeof x509Args>

export const job: TokenJob = {
  opens: 'logged-in',
  run(token, context) {
    const { key: name, validity, ...subject } = x509Args.parse(context.args)
    const key = withPublicHalf(token, theKeyNamed(token, name))
    const scheme = certificateScheme(key.spki, token.mechanisms)
    if (scheme === undefined) {
      throw new Problem(
        'ERR_HSM_MECHANISM',
        `token "${token.label}" has no mechanism to sign with a key of type ${key.facts.type}`,
      )
    }
    const pair = { spki: key.spki, scheme }
    const toBeSigned =
      validity === null ? certificationRequest(subject, pair) : selfIssuedCertificate(subject, pair, validity)
    const der = signedStructure(toBeSigned, signWithToken(token, key, scheme, toBeSigned.der))
    return { token: tokenFacts(token), key: key.facts, scheme: scheme.name, der: der.toString('base64') }
  },
}
