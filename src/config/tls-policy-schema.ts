/** TLS settings, as listeners and certificates have them. Which words OpenSSL knows is checked in tls-policy.ts. */

import { z } from 'zod'
import { duration, integer, text } from './fields.ts'
import { DAY, SECOND } from './quantities.ts'

const words = (what: string) =>
  z
    .array(text({ max: 64 }))
    .min(1, 'is empty: leave it out, or name at least one')
    .optional()
    .meta({ 'x-type': `list of ${what}` })

export type TlsPolicyEntry = z.output<typeof tlsPolicySchema>
/** Without defaults: what is not named comes from the policy beneath. */
export const tlsPolicySchema = z.strictObject({
  policy: z
    .enum(['modern', 'intermediate'])
    .optional()
    .describe(
      "Mozilla's configurations (Server Side TLS 5.7, without DHE): `modern` is TLS 1.3 only, `intermediate` adds TLS 1.2 with forward secrecy and AEAD. It sets versions, suites, groups and signature schemes; what stands beside it goes before it. Default: `intermediate` for a listener; for a certificate what the listener has.",
    ),
  versions: z
    .array(z.enum(['TLSv1.2', 'TLSv1.3']))
    .min(1, 'is empty: leave it out, or name at least one')
    .optional()
    .describe('Protocol versions.'),
  tls12_suites: words('suites').describe(
    "Cipher suites of TLS 1.2, most wanted first, in OpenSSL's names (`ECDHE-ECDSA-AES128-GCM-SHA256`); ECDHE only.",
  ),
  tls13_suites: words('suites').describe(
    'Cipher suites of TLS 1.3, most wanted first (`TLS_AES_128_GCM_SHA256`).',
  ),
  groups: words('groups').describe(
    'Key exchange groups, most wanted first (`X25519`, `P-256`). The named policies begin with `X25519MLKEM768` where Node has it (OpenSSL 3.5, Node 24); `sealgate check` shows what is in force.',
  ),
  signature_schemes: words('signature schemes').describe(
    'Signature schemes, most wanted first (`ecdsa_secp256r1_sha256`). Of these, what the HSMs can do with the key is offered. Default: all; `modern` lacks `ecdsa_sha224`, which is for clients of TLS 1.2 that know nothing better.',
  ),
  tickets: integer({ min: 0, max: 8 })
    .optional()
    .describe(
      'Session tickets after a full TLS 1.3 handshake; a TLS 1.2 client gets one. 0: no resumption, a signature for each connection. Default: 1.',
    ),
  ticket_lifetime: duration({ min: 1 * SECOND, max: 7 * DAY })
    .optional()
    .describe(
      'How long a ticket is good; at most three `tls.ticket_rotation`, since older ticket keys are gone. Default: one `tls.ticket_rotation`.',
    ),
})
