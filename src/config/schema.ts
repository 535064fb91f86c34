/**
 * Every key of the configuration: its type, bounds, default and what it is for. The parser, the JSON Schema
 * and config/README.md all come from here and the schemas it includes; nothing else knows a default. Long because it is a
 * table.
 *
 * What a single value cannot tell (does the file exist, is there such an upstream) is checked in resolve.ts.
 */

import { z } from 'zod'
import { address, duration, integer, name, path, size, text, threadCount } from './fields.ts'
import { listenerSchema } from './listener-schema.ts'
import { DAY, GIB, HOUR, KIB, MIB, MINUTE, SECOND, UINT32_MAX } from './quantities.ts'
import { certificateOcspSchema, ocspSchema } from './stapling-schema.ts'
import { ticketsSchema } from './ticket-schema.ts'
import { tlsPolicySchema } from './tls-policy-schema.ts'

const environmentName = () =>
  z
    .string()
    .regex(
      /^[A-Za-z_][A-Za-z0-9_]*$/,
      'is no name of an environment variable: use letters, digits and "_"; the PIN itself is not written here',
    )

export type HsmEntry = z.output<typeof hsmSchema>
export const hsmSchema = z
  .strictObject({
    module: path().describe(
      "The vendor's PKCS#11 module (a shared library). Only this HSM's host process loads it.",
    ),
    initialize: text()
      .optional()
      .describe(
        "Parameters that the module takes with C_Initialize; only few do. For NSS: `configdir='sql:./nssdb'`. Paths in it that start with `./` or `../` are relative to this file.",
      ),
    token: text({ max: 32 })
      .optional()
      .describe('Label of the token. Give one of `token`, `serial` and `slot`.'),
    serial: text({ max: 16 })
      .optional()
      .describe('Serial number of the token, in quotes. Use it where labels repeat, as in clusters of HSMs.'),
    slot: integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
      .optional()
      .describe('Slot ID. Many modules number slots anew at every start; prefer `token` or `serial`.'),
    pin: z
      .strictObject({
        file: path().optional().describe('File whose first line is the PIN. Readable by Sealgate only.'),
        env: environmentName()
          .optional()
          .describe(
            'Environment variable that holds the PIN. The front process has it too then: prefer `file`.',
          ),
      })
      .describe('Where the PIN comes from: `file` or `env`. The PIN itself is refused here.'),
    sessions: integer({ min: 1, max: 1_024 })
      .prefault(32)
      .describe(
        "Signatures in flight at most; the token's own limit caps it. Needed: signatures per second times seconds per signature. Raise it for a distant HSM.",
      ),
    user_type: z
      .union([z.literal('user'), z.literal('so'), z.int().min(0).max(UINT32_MAX)], {
        error: 'must be user, so, or the number of a CK_USER_TYPE',
      })
      .prefault('user')
      .meta({ 'x-type': 'user, so or number' })
      .describe(
        'Who logs in. A number is for vendor roles, e.g. 0x80000001 for the crypto user of a Luna HSM.',
      ),
    env: z
      .record(
        environmentName(),
        z
          .string({ error: 'must be text: put it in quotes' })
          .refine((value) => !value.includes('\0'), 'contains a NUL'),
      )
      .prefault({})
      .meta({ 'x-type': 'map of text' })
      .describe(
        'Environment for this host process only, e.g. SOFTHSM2_CONF. Values that start with `./` or `../` are paths relative to this file.',
      ),
  })
  .meta({ title: 'hsms.NAME' })

export type KeyEntry = z.output<typeof keySchema>
export const keySchema = z.strictObject({
  uri: text({ type: 'PKCS#11 URI' }).describe(
    'The private key object, RFC 7512: `object` (label), `id` (percent-encoded) or both, e.g. `pkcs11:object=web;type=private`. The token is chosen by `hsms`.',
  ),
  hsms: z
    .array(name())
    .min(1, 'is empty: name at least one of hsms')
    .describe('Members that hold this same key. Two or more survive the loss of one.'),
  uris: z
    .record(name(), text({ type: 'PKCS#11 URI' }))
    .prefault({})
    .meta({ 'x-type': 'map of PKCS#11 URIs' })
    .describe(
      'By name, the HSMs where the object has another label or id than in `uri`: some choose these themselves when a key is imported.',
    ),
})

export type CertificateEntry = z.output<typeof certificateSchema>
export const certificateSchema = z
  .strictObject({
    chain: path().describe(
      'PEM file: the leaf certificate first, then the intermediates. The names it serves come from the leaf.',
    ),
    key: keySchema.describe('The private key of the leaf.'),
    tls: tlsPolicySchema
      .optional()
      .meta({ title: 'certificates[].tls' })
      .describe(
        "TLS for the names of this certificate, on top of the listener's. Certificates that share a name have the same.",
      ),
    ocsp: certificateOcspSchema
      .meta({ title: 'certificates[].ocsp' })
      .describe('Where the OCSP response of this certificate comes from. Default: as `ocsp.staple` says.'),
  })
  .meta({ title: 'certificates[]' })

export type UpstreamEntry = z.output<typeof upstreamSchema>
export const upstreamSchema = z
  .strictObject({
    servers: z
      .array(text())
      .min(1, 'is empty: give at least one server')
      .meta({ 'x-type': 'list of URLs' })
      .describe(
        '`http://host:port` for http listeners, `tcp://host:port` for tcp listeners; one kind per upstream.',
      ),
    balance: z
      .enum(['round-robin'])
      .prefault('round-robin')
      .describe('How a server is chosen. A server that does not answer is passed over.'),
    connect_timeout: duration({ min: 10, max: 5 * MINUTE })
      .prefault('5s')
      .describe(
        'One TCP connect; http: also the wait for one of `connections` when all are in use. Lower it where servers are near and another one can take over.',
      ),
    response_timeout: duration({ min: 100, max: 1 * DAY })
      .prefault('60s')
      .describe(
        'http: from the end of the request to the response headers, and between two chunks of a body. Raise it for long polls.',
      ),
    keep_alive: duration({ min: 1 * SECOND, max: 1 * HOUR })
      .prefault('30s')
      .describe("http: idle connections are closed after this. Keep it below the servers' own idle timeout."),
    connections: integer({ min: 1, max: 65_535 })
      .prefault(256)
      .describe(
        'http: connections per server and HTTP thread at most; requests beyond it wait for `connect_timeout`, then get 503.',
      ),
    idle_timeout: duration({ min: 1 * SECOND, max: 7 * DAY })
      .prefault('10m')
      .describe('tcp: a connection without a byte either way is closed after this.'),
    proxy_protocol: z
      .enum(['off', 'v2', 'v2-certificate', 'v2-addresses'])
      .prefault('off')
      .describe(
        'tcp: each server gets a PROXY header first, which it must expect. `v2` tells the client, what TLS agreed on, and the common name of a client certificate; `v2-certificate` the certificate itself as well (type 0x28), with all its names; for servers that read long headers (HAProxy; not Varnish); `v2-addresses` the client only, for those that take no more than 107 bytes (nginx before 1.23.2).',
      ),
  })
  .meta({ title: 'upstreams.NAME' })

const signingSchema = z
  .strictObject({
    timeout: duration({ min: 10, max: 1 * MINUTE })
      .prefault('2s')
      .describe(
        'One signature from request to answer: waiting, retries on other members and all. Clients give up after some seconds anyway. An HSM that is open again within a quarter of it and answers nothing at all for half of it gets a new process.',
      ),
    queue: integer({ min: 1, max: 1_000_000 })
      .prefault(1_024)
      .describe(
        'Signatures of one key that may wait for a free session; one more is refused at once. Useful: what the HSMs sign within `timeout`.',
      ),
    hedge: z
      .enum(['auto', 'off'])
      .prefault('auto')
      .describe(
        'auto: with two or more members, a slow signature is also asked of a second one. off: where each signature costs money.',
      ),
    verify: z
      .enum(['auto', 'always'])
      .prefault('auto')
      .describe(
        'auto: RSA signatures are verified before they are sent (a faulty one gives the key away). always: ECDSA and Ed25519 as well, for one verification of CPU time each.',
      ),
  })
  .prefault({})
  .describe('Signatures, over all HSMs.')

const rate = () =>
  z.strictObject({
    per_second: z
      .number()
      .min(0.01, 'is too small: from 0.01')
      .max(1_000_000, 'is too large: up to 1000000')
      .meta({ 'x-type': 'number', 'x-bounds': '0.01 ... 1000000' })
      .describe('In the long run.'),
    burst: integer({ min: 1, max: 1_000_000 }).prefault(100).describe('At once, after a quiet time.'),
  })

const limitsSchema = z
  .strictObject({
    full_handshakes: rate()
      .optional()
      .describe('Full handshakes of all clients together. Useful: a little less than the HSMs can sign.')
      .meta({ title: 'limits.full_handshakes' }),
    full_handshakes_per_address: rate()
      .optional()
      .describe(
        'Full handshakes of one client: an IPv4 address, or an IPv6 network of 64 bits. Mind that many people may share an address.',
      )
      .meta({ title: 'limits.full_handshakes_per_address' }),
    exceeded: z
      .enum(['refuse', 'wait'])
      .prefault('refuse')
      .describe(
        'refuse: the handshake fails at once. wait: it has its turn later, if that is within `signing.timeout`.',
      ),
  })
  .prefault({})
  .describe(
    'Protects the HSMs from more handshakes than they can sign. Resumed handshakes need no signature and are free.',
  )
  .meta({ title: 'limits' })

const tlsSchema = z
  .strictObject({
    handshake_timeout: duration({ min: 1 * SECOND, max: 2 * MINUTE })
      .prefault('10s')
      .describe('From accept to the end of the handshake.'),
    ticket_rotation: duration({ min: 1 * MINUTE, max: 7 * DAY })
      .prefault('12h')
      .describe(
        'A new session-ticket key this often; two previous ones still resume. Shorter: a stolen ticket key opens less; longer: fewer signatures.',
      ),
    tickets: ticketsSchema.prefault({}).describe('Where session-ticket keys come from.'),
  })
  .prefault({})
  .describe('TLS towards clients.')

const adminSchema = z
  .union(
    [
      z.literal('off'),
      z.strictObject({
        address: address()
          .prefault('127.0.0.1:9901')
          .describe('Where to listen. It has no access control: keep it off public addresses.'),
      }),
    ],
    {
      error: (issue) =>
        issue.code === 'invalid_union' && typeof issue.input !== 'object'
          ? 'must be off, or a map with the key address'
          : undefined,
    },
  )
  .prefault({})
  .describe('`/healthz`, `/readyz`, `/status` and `/metrics`; `admin: off` for none.')

const threadsSchema = z
  .strictObject({
    tls: threadCount()
      .prefault('auto')
      .describe(
        'TLS threads of each kind: for handshakes, and for connections that carry bytes. auto: one per core available to the process.',
      ),
    http: threadCount()
      .prefault('auto')
      .describe('HTTP threads; idle without http listeners. auto: one per core available to the process.'),
    scheduling: z
      .enum(['batch', 'normal'])
      .prefault('batch')
      .describe(
        'On Linux, for the hosts too. batch: a thread that wakes up waits its turn (`SCHED_BATCH`, sched(7)), so that more is done each time it runs: 15 to 20 % less CPU under load; and, since Linux 6.12, what makes handshakes is given the processor later and for longer (slices of 8 ms), what carries bytes sooner (0.1 ms), so that open connections wait less for it. normal: as every other program, which keeps latency low where others compute on the same processors.',
      ),
  })
  .prefault({})
  .describe('Threads of the front process.')

const logSchema = z
  .strictObject({
    level: z
      .enum(['error', 'warn', 'info', 'debug'])
      .prefault('info')
      .describe('error: someone must act; warn: degraded but served; info: lifecycle; debug: the rest.'),
    access: z.boolean().prefault(true).describe('One line per request or tcp connection.'),
  })
  .prefault({})
  .describe('JSON lines on standard output.')

const reloadSchema = z
  .strictObject({
    watch: z
      .enum(['files', 'all', 'off'])
      .prefault('files')
      .describe(
        'What is taken up when it changes, without a HUP. files: certificate chains, client CAs and revocation lists. all: this file too. off: nothing. A state that is wrong in any way is not taken; the old one stays.',
      ),
    interval: duration({ min: 100, max: 1 * HOUR })
      .prefault('5s')
      .describe(
        'How often it is looked for. Contents count, so files that are renamed over and mounted Kubernetes Secrets are found.',
      ),
  })
  .prefault({})
  .describe('Changes while Sealgate runs. `HUP` takes up everything at any time.')

export type AuditEntry = z.output<typeof auditSchema>
export const auditSchema = z
  .strictObject({
    file: path().describe(
      'JSON lines, one per use of a key, each chained to the one before. One process writes it; full files get a number: `audit.jsonl.000001`.',
    ),
    rotate: size({ min: 64 * KIB, max: 1024 * GIB })
      .prefault('100MiB')
      .describe('A file of this size is full; about 150,000 signatures fit into the default.'),
    keep: integer({ min: 1, max: 1_000_000 })
      .optional()
      .describe(
        'Full files that stay; older ones are removed, which the log then says itself. Absent: all stay, and you archive them.',
      ),
    fsync: z
      .union([z.literal('always'), z.literal('never'), duration({ min: 10, max: 1 * HOUR })], {
        error: 'must be always, never, or an interval such as 1s (10ms ... 1h)',
      })
      .prefault('1s')
      .meta({ 'x-type': 'always, never or duration', 'x-bounds': '10ms ... 1h' })
      .describe(
        'When records are forced to the disk, which is what a power failure may cost; a crash of Sealgate costs only what it had collected for a write, some milliseconds.',
      ),
    overflow: z
      .enum(['count', 'block'])
      .prefault('count')
      .describe(
        'The disk is full and so is the buffer. count: signatures go on, records are lost, and how many is recorded. block: no signature without a record; handshakes wait, then fail.',
      ),
    buffer: size({ min: 1 * MIB, max: 1 * GIB })
      .prefault('16MiB')
      .describe(
        'Records that wait for the disk. The default holds about 25,000 signatures: half a minute of a busy proxy.',
      ),
    checkpoint: z
      .strictObject({
        key: keySchema.describe('A key of its own: one that signs handshakes is refused.'),
        public_key: path().describe(
          'PEM file with the public key of `key`, or a certificate for it. `sealgate audit verify --public-key` takes the same file.',
        ),
        every: duration({ min: 100, max: 1 * DAY })
          .prefault('10s')
          .describe('After a record, a checkpoint follows within this time. A proxy at rest signs none.'),
        records: integer({ min: 1, max: 10_000_000 })
          .prefault(10_000)
          .describe('... or after so many records, whatever comes first.'),
      })
      .optional()
      .describe(
        'Has the chain signed by a key in the HSM. Without it, whoever can write the file can write it anew from the beginning.',
      ),
  })
  .optional()
  .describe('The audit log of every use of a key. Absent: none is written.')

/** Names of map entries; the value is described by its own schema. */
export const configSchema = z.strictObject({
  hsms: z
    .record(name(), hsmSchema)
    .prefault({})
    .describe('HSMs by name; each gets a host process of its own.'),
  certificates: z
    .array(certificateSchema)
    .prefault([])
    .describe(
      'Certificates with their keys. The first is the default; the same names may have one per key type.',
    ),
  listeners: z
    .array(listenerSchema)
    .min(1, 'is empty: give at least one listener')
    .describe('What is listened on.'),
  upstreams: z.record(name(), upstreamSchema).prefault({}).describe('Backends by name.'),
  signing: signingSchema,
  tls: tlsSchema,
  ocsp: ocspSchema,
  limits: limitsSchema,
  admin: adminSchema,
  threads: threadsSchema,
  log: logSchema,
  audit: auditSchema,
  reload: reloadSchema,
  drain_timeout: duration({ min: 0, max: 1 * DAY })
    .prefault('30s')
    .describe('After TERM: how long open requests and connections may take to end.'),
})
