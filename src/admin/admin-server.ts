/**
 * The operator's window: `/healthz`, `/readyz`, `/status` and `/metrics` on plain HTTP.
 *
 * It knows none of the parts; it asks what it is given, and bounds how long and how much. It has no access
 * control, which is why it listens on loopback unless told otherwise.
 */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { TlsError } from '../errors.ts'
import type { Log } from '../log.ts'
import { EXPOSITION_CONTENT_TYPE } from '../metrics/exposition.ts'

/** Where the answers come from. Called once per request, concurrently. */
export interface AdminSource {
  /**
   * Can every certificate be signed for, or any, and are the listeners open? The reasons say why not, and what is wrong
   * although it is enough.
   */
  ready(wanted: 'every' | 'any'): Readiness | Promise<Readiness>
  /** Anything that JSON can say. */
  status(): unknown
  /** Prometheus text. */
  metrics(): string | Promise<string>
}

export interface Readiness {
  readonly ready: boolean
  readonly reasons: readonly string[]
}

export interface AdminServer {
  readonly host: string
  /** The one it got, where 0 was asked for. */
  readonly port: number
  /** Answers what has been asked, for a second at most, then ends. Idempotent. */
  close(): Promise<void>
}

/** @throws {TlsError} `ERR_TLS_LISTEN` when the address cannot be listened on. */
export async function startAdminServer(
  address: { readonly host: string; readonly port: number },
  source: AdminSource,
  log: Log,
): Promise<AdminServer> {
  const answering = new Set<ServerResponse>()
  const server = createServer(LIMITS, (request, response) => {
    answering.add(response)
    response.once('close', () => answering.delete(response))
    answer(request, source).then(
      (reply) => send(request, response, reply),
      (error: unknown) => {
        log.error({ err: error, path: pathOf(request) }, 'admin request failed')
        send(request, response, text(500, 'internal error; the log says why\n'))
      },
    )
  })
  server.maxConnections = MAX_CONNECTIONS
  await listen(server, address)
  server.on('error', (error) => log.error({ err: error }, 'admin endpoint failed'))

  const bound = server.address()
  const port = typeof bound === 'object' && bound !== null ? bound.port : address.port
  let closed: Promise<void> | undefined
  return {
    host: address.host,
    port,
    close: () => {
      closed ??= closeServer(server, answering)
      return closed
    },
  }
}

/**
 * close() ends Node's own timeouts as well, and no connection counts as idle before its first request: a probe that had
 * connected and said nothing would keep Sealgate from ending.
 */
async function closeServer(server: Server, answering: ReadonlySet<ServerResponse>): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  const late = new AbortController()
  const answered = Promise.all([...answering].map((response) => once(response, 'close')))
  await Promise.race([answered, delay(CLOSE_GRACE_MS, undefined, late).catch(() => {})])
  late.abort()
  server.closeAllConnections()
  await closed
}

interface Reply {
  readonly status: number
  readonly contentType: string
  readonly body: string
  readonly allow?: string
}

type Page = (source: AdminSource, query: URLSearchParams) => Promise<Reply>

async function answer(request: IncomingMessage, source: AdminSource): Promise<Reply> {
  const page = PAGES[pathOf(request)]
  if (page === undefined) return text(404, `not found; there are ${Object.keys(PAGES).join(', ')}\n`)
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return { ...text(405, 'only GET and HEAD\n'), allow: 'GET, HEAD' }
  }
  return withDeadline(page(source, queryOf(request)))
}

/** Null prototype: a path such as `/constructor` must not find what Object has. */
const PAGES: Readonly<Record<string, Page>> = Object.assign(Object.create(null), {
  '/healthz': async () => text(200, 'ok\n'),
  '/readyz': async (source: AdminSource, query: URLSearchParams) => {
    const wanted = query.get('certificates') === 'any' ? 'any' : 'every'
    const { ready, reasons } = await source.ready(wanted)
    const lines = reasons.map((reason) => `${reason}\n`).join('')
    return ready ? text(200, `ready\n${lines}`) : text(503, `not ready\n${lines}`)
  },
  '/status': async (source: AdminSource) => ({
    status: 200,
    contentType: 'application/json',
    body: `${JSON.stringify(await source.status(), null, 2)}\n`,
  }),
  '/metrics': async (source: AdminSource) => ({
    status: 200,
    contentType: EXPOSITION_CONTENT_TYPE,
    body: await source.metrics(),
  }),
})

function send(request: IncomingMessage, response: ServerResponse, reply: Reply): void {
  response.writeHead(reply.status, {
    'Content-Type': reply.contentType,
    'Content-Length': Buffer.byteLength(reply.body),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    // One request per connection: nothing idle is left that close() would have to wait for.
    Connection: 'close',
    ...(reply.allow === undefined ? {} : { Allow: reply.allow }),
  })
  response.end(request.method === 'HEAD' ? undefined : reply.body)
}

function text(status: number, body: string): Reply {
  return { status, contentType: 'text/plain; charset=utf-8', body }
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '').split('?', 1)[0] ?? ''
}

function queryOf(request: IncomingMessage): URLSearchParams {
  return new URLSearchParams((request.url ?? '').split('?')[1])
}

async function withDeadline(reply: Promise<Reply>): Promise<Reply> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<Reply>((resolve) => {
    timer = setTimeout(() => resolve(text(503, 'no answer in time\n')), ANSWER_TIMEOUT_MS)
  })
  try {
    return await Promise.race([reply, late])
  } finally {
    clearTimeout(timer)
  }
}

function listen(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => {
      const shown = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
      const reason = LISTEN_ERRORS[error.code ?? ''] ?? `cannot be listened on (${error.code})`
      reject(
        new TlsError(
          'ERR_TLS_LISTEN',
          `admin: ${shown} ${reason}; choose another admin.address, or admin: off`,
          {
            cause: error,
          },
        ),
      )
    }
    server.once('error', fail)
    server.listen({ host, port }, () => {
      server.off('error', fail)
      resolve()
    })
  })
}

const ANSWER_TIMEOUT_MS = 5_000
const CLOSE_GRACE_MS = 1_000
const MAX_CONNECTIONS = 64
const LIMITS = {
  maxHeaderSize: 8_192,
  headersTimeout: 5_000,
  requestTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
}
const LISTEN_ERRORS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'is in use by another program',
  EACCES: 'needs a privilege that this user does not have (ports below 1024)',
  EADDRNOTAVAIL: 'is no address of this machine',
}
