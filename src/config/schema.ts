/**
 * Every key of the configuration: its type, bounds, default and what it is for. The parser, the JSON Schema
 * and config/README.md all come from here; nothing else knows a default.
 *
 * What a single value cannot tell (does the file exist, is there such an upstream) is checked in resolve.ts.
 */

import { z } from 'zod'
import { httpClientCertificateSchema, tcpClientCertificateSchema } from './client-certificate-schema.ts'
import { address, duration, integer, name, network, path, size, text, threadCount } from './fields.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const KIB = 1_024
const MIB = 1_024 * KIB
const GIB = 1_024 * MIB
const UINT32_MAX = 0xffff_ffff

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
const keySchema = z.strictObject({
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

const words = (what: string) =>
  z
    .array(text({ max: 64 }))
    .min(1, 'is empty: leave it out, or name at least one')
    .optional()
    .meta({ 'x-type': `list of ${what}` })

export type TlsPolicyEntry = z.output<typeof tlsPolicySchema>
/** Without defaults: what is not named comes from the policy beneath. */
const tlsPolicySchema = z.strictObject({
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
    'Signature schemes, most wanted first (`ecdsa_secp256r1_sha256`). Of these, what the HSMs can do with the key is offered. Default: all.',
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
  })
  .meta({ title: 'certificates[]' })

const upstreamName = () => name().meta({ 'x-type': 'name of an upstream' })

export type RouteEntry = z.output<typeof routeSchema>
const routeSchema = z
  .strictObject({
    match: z
      .strictObject({
        host: text({ max: 255 })
          .optional()
          .describe('Host name, exact or with `*.` for one label. Absent: every host.'),
        path: text()
          .regex(/^\//, 'must start with "/"')
          .optional()
          .describe('Prefix of the path, starts with `/`. Absent: every path.'),
      })
      .optional()
      .describe('What the route is for. Absent: every request.'),
    upstream: upstreamName().describe('Who serves it.'),
    client_certificate: z
      .literal('require')
      .optional()
      .describe(
        'require: a request on a connection without a client certificate gets a 403. The listener must ask for one.',
      ),
  })
  .meta({ title: 'listeners[].routes[]' })

export type TcpRouteEntry = z.output<typeof tcpRouteSchema>
const tcpRouteSchema = z
  .strictObject({
    match: z
      .strictObject({
        server_name: text({ max: 255 })
          .optional()
          .describe(
            'Server name that the client asked for, exact or with `*.` for one label. Absent: every name, and none.',
          ),
        alpn: text({ max: 255 })
          .optional()
          .describe(
            "Application protocol that was agreed on; it must be in the listener's `alpn`. Absent: any, and none.",
          ),
      })
      .optional()
      .describe('What the route is for. Absent: every connection.'),
    upstream: upstreamName().describe('Where the bytes go; its servers are `tcp://`.'),
  })
  .meta({ title: 'listeners[].routes[] with protocol: tcp' })

const connectionLimits = {
  max_connections: integer({ min: 1, max: 10_000_000 })
    .optional()
    .describe(
      'Connections open at a time; one more is closed unanswered. Absent: as many as there are file descriptors.',
    ),
  max_handshakes: integer({ min: 1, max: 10_000_000 })
    .optional()
    .describe(
      'Of those, handshakes under way at a time. Useful: what the HSMs sign within `tls.handshake_timeout`.',
    ),
}

const proxyProtocol = () =>
  z
    .strictObject({
      from: z
        .array(network())
        .min(1, 'is empty: name the networks of the balancers')
        .meta({ 'x-type': 'list of networks' })
        .describe(
          'Where balancers are: connections from here must begin with a PROXY header, whose source becomes the client in logs and `X-Forwarded-For`. Everybody else speaks TLS at once and cannot claim an address.',
        ),
    })
    .optional()
    .describe('A balancer in front sends the PROXY protocol, version 1 or 2.')
    .meta({ title: 'listeners[].proxy_protocol' })

const listenerKeys = {
  address: address().describe(
    'Where to listen: an IP address and a port. `0.0.0.0` and `[::]` mean all addresses, port 0 any free one.',
  ),
  name: name()
    .optional()
    .describe('Name in logs and metrics. Default: `listeners[0]` for the first listener, and so on.'),
}

const listenerTls = () =>
  tlsPolicySchema
    .extend({
      unknown_server_name: z
        .enum(['default', 'refuse'])
        .prefault('default')
        .describe(
          'A client that asks for a name no certificate has: `default` serves the first certificate, `refuse` ends with the alert unrecognized_name. A client that names no server gets the first certificate.',
        ),
    })
    .prefault({})
    .meta({ title: 'listeners[].tls' })
    .describe('TLS on this listener. A certificate may have settings of its own on top.')

export type ListenerEntry = z.output<typeof listenerSchema>
export const listenerSchema = z.discriminatedUnion('protocol', [
  z
    .strictObject({
      protocol: z.literal('http').describe('TLS in, HTTP/2 and HTTP/1.1 inside it, routed to upstreams.'),
      ...listenerKeys,
      tls: listenerTls(),
      misdirected: z
        .enum(['refuse', 'serve'])
        .prefault('refuse')
        .describe(
          "A request for a host that the connection's certificate does not have: `refuse` answers 421 (RFC 9110 §15.5.20), and the client comes again over a connection of its own. Served in any case: the name the client asked for in TLS, and IP addresses.",
        ),
      routes: z
        .array(routeSchema)
        .min(1, 'is empty: give at least one route')
        .optional()
        .meta({ 'x-type': 'list of routes' })
        .describe('Tried in order; the first that matches serves the request, none is a 404.'),
      upstream: upstreamName().optional().describe('Short for one route that matches everything.'),
      max_header: size({ min: 1 * KIB, max: 1_024 * KIB })
        .prefault('16KiB')
        .describe('All headers of a request together; more is a 431. Raise it for large cookies or tokens.'),
      header_timeout: duration({ min: 100, max: 10 * MINUTE })
        .prefault('10s')
        .describe('From the first byte of a request to the end of its headers. Stops slow-header attacks.'),
      keep_alive: duration({ min: 1 * SECOND, max: 1 * DAY })
        .prefault('75s')
        .describe(
          'A connection without a request is closed after this. Keep it above the idle timeout of a load balancer in front.',
        ),
      proxy_protocol: proxyProtocol(),
      ...connectionLimits,
      client_certificate: httpClientCertificateSchema
        .optional()
        .describe('Clients are asked for a certificate (mTLS). Absent: they are not.'),
    })
    .meta({ title: 'listeners[] with protocol: http' }),
  z
    .strictObject({
      protocol: z.literal('tcp').describe('TLS in, the bytes as they are to an upstream.'),
      ...listenerKeys,
      tls: listenerTls(),
      routes: z
        .array(tcpRouteSchema)
        .min(1, 'is empty: give at least one route')
        .optional()
        .meta({ 'x-type': 'list of routes' })
        .describe(
          'Tried in order; the first that matches takes the connection, and one that none takes is closed.',
        ),
      upstream: upstreamName()
        .optional()
        .describe('Short for one route that matches everything; its servers are `tcp://`.'),
      alpn: z
        .array(text({ max: 255 }))
        .prefault([])
        .meta({ 'x-type': 'list of text' })
        .describe(
          'Application protocols to agree on (RFC 7301), most wanted first. Absent: none is negotiated.',
        ),
      proxy_protocol: proxyProtocol(),
      ...connectionLimits,
      client_certificate: tcpClientCertificateSchema
        .optional()
        .describe('Clients are asked for a certificate (mTLS). Absent: they are not.'),
    })
    .meta({ title: 'listeners[] with protocol: tcp' }),
  z
    .strictObject({
      protocol: z.literal('redirect').describe('Plain HTTP in; every request is redirected to https.'),
      ...listenerKeys,
    })
    .meta({ title: 'listeners[] with protocol: redirect' }),
])

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
      .describe('One TCP connect. Lower it where servers are near and another one can take over.'),
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
      .describe('http: connections per server and HTTP thread at most; requests beyond it wait.'),
    idle_timeout: duration({ min: 1 * SECOND, max: 7 * DAY })
      .prefault('10m')
      .describe('tcp: a connection without a byte either way is closed after this.'),
    proxy_protocol: z
      .enum(['off', 'v2'])
      .prefault('off')
      .describe(
        'tcp: v2 sends each server a PROXY header first, with the client and what TLS agreed on. The server must expect it.',
      ),
  })
  .meta({ title: 'upstreams.NAME' })

const signingSchema = z
  .strictObject({
    timeout: duration({ min: 10, max: 1 * MINUTE })
      .prefault('2s')
      .describe(
        'One signature from request to answer: waiting, retries on other members and all. Clients give up after some seconds anyway.',
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
    tls: threadCount().prefault('auto').describe('TLS threads. auto: one per core available to the process.'),
    http: threadCount()
      .prefault('auto')
      .describe('HTTP threads; idle without http listeners. auto: one per core available to the process.'),
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
export type ConfigEntry = z.output<typeof configSchema>
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
  limits: limitsSchema,
  admin: adminSchema,
  threads: threadsSchema,
  log: logSchema,
  audit: auditSchema,
  drain_timeout: duration({ min: 0, max: 1 * DAY })
    .prefault('30s')
    .describe('After TERM: how long open requests and connections may take to end.'),
})
