/**
 * The plain-HTTP listener that only says "use https".
 *
 * 308 and not 301: a POST stays a POST, and the body is sent again (RFC 9110 §15.4.9). Lives in the main
 * thread: it holds no secret and serves a few bytes.
 */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { listenError } from '../errors.ts'
import type { Log } from '../log.ts'

export interface Redirect {
  /** As bound; matters when port 0 was asked for. */
  readonly port: number
  /** Stops listening and ends open connections. Idempotent. */
  close(): Promise<void>
}

/** A client that sends its request a byte at a time, or none, is not worth a descriptor. */
const HEADERS_TIMEOUT_MS = 10_000
const KEEP_ALIVE_MS = 5_000

/**
 * @param options.httpsPort port of the https listener, put into the Location when it is not 443.
 * @throws {TlsError} `ERR_TLS_LISTEN` (as a rejection) when the port cannot be had.
 */
export async function startRedirect(options: {
  readonly address: { readonly host: string; readonly port: number }
  readonly log: Log
  readonly httpsPort?: number
}): Promise<Redirect> {
  const { address, log, httpsPort = 443 } = options
  const server = createServer({
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: HEADERS_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
  })
  server.on('request', (request, response) => redirect(request, response, httpsPort))
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(listenError(address, cause)))
    server.listen(address.port, address.host, resolve)
  })
  server.on('error', (error) => log.error({ err: error }, 'redirect listener failed'))
  let closed: Promise<void> | undefined
  return {
    port: boundPort(server.address()),
    close: () => {
      closed ??= new Promise((resolve) => {
        server.close(() => resolve())
        // close() ends Node's own timeouts as well, and no connection counts as idle before its first request: whoever
        // had connected and said nothing would keep this open for ever. An answer is written as soon as it is asked for.
        server.closeAllConnections()
      })
      return closed
    },
  }
}

function redirect(request: IncomingMessage, response: ServerResponse, httpsPort: number): void {
  const location = locationFor(request.headers.host, request.url ?? '/', httpsPort)
  if (location === undefined) {
    response.writeHead(400, { connection: 'close', 'content-length': 0 }).end()
    return
  }
  // The body, if any, is not wanted here: closing says so sooner than reading it.
  response.writeHead(308, { location, connection: 'close', 'content-length': 0 }).end()
}

/** A host that could carry anything else than a host into the Location is refused. */
const HOST = /^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/

function locationFor(host: string | undefined, target: string, httpsPort: number): string | undefined {
  const name = HOST.exec(host ?? '')?.[1]
  if (name === undefined || !target.startsWith('/')) return undefined
  return `https://${name}${httpsPort === 443 ? '' : `:${httpsPort}`}${target}`
}

function boundPort(address: AddressInfo | string | null): number {
  return typeof address === 'object' && address !== null ? address.port : 0
}
