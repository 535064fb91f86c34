// @ts-check
/**
 * A plain TLS reverse proxy in Node: `node:https`, undici's pool, two cluster workers. It does what a careful
 * author would: upstream connections are kept alive, bodies are streamed, hop-by-hop headers are removed,
 * forwarding headers are set. Responses are forwarded as undici's documentation does it first (`request` and
 * `pipeline`), or as it does it for speed (`stream`).
 *
 * Usage: node node-https-proxy.mjs PORT UPSTREAM CERTIFICATE KEY request|stream
 */

import cluster from 'node:cluster'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { pipeline } from 'node:stream/promises'
import { Pool } from 'undici'

/** RFC 9110 §7.6.1. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

if (cluster.isPrimary) {
  for (let worker = 0; worker < 2; worker++) cluster.fork()
  process.once('SIGTERM', () => {
    for (const worker of Object.values(cluster.workers ?? {})) worker?.kill()
    process.exitCode = 0
  })
} else {
  serve()
}

function serve() {
  const [port = '', upstream = '', certificate = '', key = '', how = ''] = process.argv.slice(2)
  const answer = how === 'request' ? answerByRequest : answerByStream
  const pool = new Pool(upstream, { connections: 256 })
  const server = createServer({
    cert: readFileSync(certificate),
    key: readFileSync(key),
    minVersion: 'TLSv1.3',
    keepAliveTimeout: 600_000,
  })
  server.on('request', (request, response) => {
    answer(pool, forwarded(request), response).catch(() => {
      if (response.headersSent) response.destroy()
      else response.writeHead(502).end()
    })
  })
  server.listen(Number(port), '127.0.0.1', 4096)
}

/** @typedef {Omit<import('undici').Dispatcher.RequestOptions, 'origin'>} Forwarded */

/**
 * @param {Pool} pool
 * @param {Forwarded} request
 * @param {import('node:http').ServerResponse} response
 */
async function answerByRequest(pool, request, response) {
  const { statusCode, headers, body } = await pool.request(request)
  response.writeHead(statusCode, endToEnd(headers))
  await pipeline(body, response)
}

/**
 * @param {Pool} pool
 * @param {Forwarded} request
 * @param {import('node:http').ServerResponse} response
 */
async function answerByStream(pool, request, response) {
  await pool.stream(request, ({ statusCode, headers }) => {
    response.writeHead(statusCode, endToEnd(headers))
    return response
  })
}

/**
 * @param {import('node:http').IncomingMessage} request
 * @returns {Forwarded}
 */
function forwarded(request) {
  const { method = 'GET', url = '/', headers, socket } = request
  const hasBody = headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined
  return {
    method: /** @type {import('undici').Dispatcher.HttpMethod} */ (method),
    path: url,
    headers: {
      ...endToEnd(headers),
      'x-forwarded-for': socket.remoteAddress ?? 'unknown',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': headers.host ?? '',
    },
    body: hasBody ? request : null,
  }
}

/**
 * @param {import('node:http').IncomingHttpHeaders} headers
 * @returns {Record<string, string | string[]>}
 */
function endToEnd(headers) {
  /** @type {Record<string, string | string[]>} */
  const kept = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !HOP_BY_HOP.has(name)) kept[name] = value
  }
  return kept
}
