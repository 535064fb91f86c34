/** `tls.tickets`: ticket keys that a fleet shares. Part of the one schema (schema.ts). */

import { z } from 'zod'
import { name, path, text } from './fields.ts'

const environmentName = () =>
  z
    .string()
    .regex(
      /^[A-Za-z_][A-Za-z0-9_]*$/,
      'is no name of an environment variable: use letters, digits and "_"; the password itself is not written here',
    )

const redisSchema = z.strictObject({
  url: text({ type: 'URL' }).describe(
    '`redis://host:6379/0`, or `rediss://…` for TLS. User and password do not belong here.',
  ),
  key: text({ max: 512 })
    .prefault('sealgate:ticket-keys')
    .describe(
      'The Redis key. Its user needs GET, GETRANGE, SET and EVAL for it; without SET a node only reads.',
    ),
  username: text({ max: 512 }).optional().describe('For Redis with ACLs; without it, the default user.'),
  password: z
    .strictObject({
      file: path().optional().describe('File whose first line is the password; read at every connection.'),
      env: environmentName().optional().describe('Environment variable that holds it.'),
    })
    .optional()
    .describe('Where the password comes from: `file` or `env`. The password itself is refused here.'),
  ca: path()
    .optional()
    .describe(
      'rediss: PEM file with the CAs that may have issued the server’s certificate. Absent: those that Node trusts.',
    ),
  server_name: text({ max: 253 })
    .optional()
    .describe('rediss: the name on the server’s certificate, where it is not the host of `url`.'),
})

const wrappingKeySchema = z.strictObject({
  uri: text({ type: 'PKCS#11 URI' }).describe(
    'An AES key, RFC 7512: e.g. `pkcs11:object=tickets;type=secret-key`. Written the same way on all nodes. It must not be extractable.',
  ),
  hsms: z
    .array(name())
    .min(1, 'is empty: name at least one of hsms')
    .describe('HSMs that hold this same key. Whichever is up is asked, twice a rotation.'),
  uris: z
    .record(name(), text({ type: 'PKCS#11 URI' }))
    .prefault({})
    .meta({ 'x-type': 'map of PKCS#11 URIs' })
    .describe('By name, the HSMs where the object has another label or id than in `uri`.'),
})

export type SharedTicketsEntry = z.output<typeof sharedTicketsSchema>
const sharedTicketsSchema = z.strictObject({
  file: path()
    .optional()
    .describe(
      'The set of keys as a file, which all nodes read and the first to find it due writes. Give one of `file`, `directory` and `redis`.',
    ),
  directory: path()
    .optional()
    .describe(
      'The same as the file `ticket-keys` in this directory: a mounted Kubernetes Secret, say. Where it is read-only, somebody else rotates: `sealgate tickets rotate`.',
    ),
  redis: redisSchema
    .optional()
    .describe('The set of keys as a value in Redis.')
    .meta({ title: 'tls.tickets.shared.redis' }),
  key: wrappingKeySchema
    .describe(
      'The AES key in the HSMs that wraps the set: nobody without an HSM can read it, wherever it lies.',
    )
    .meta({ title: 'tls.tickets.shared.key' }),
})

export const ticketsSchema = z.strictObject({
  shared: sharedTicketsSchema
    .optional()
    .describe(
      'Ticket keys that all nodes have, so that a session made at one resumes at the others without a signature. Absent: each process has its own.',
    )
    .meta({ title: 'tls.tickets.shared' }),
})
