// @ts-check
/**
 * A small web application to put behind the proxy: it shows what arrives at an upstream.
 *
 *   GET /          the request as it came, as a page for browsers and as text for curl
 *   GET /bytes/N   N bytes
 *   ANY /echo      the body of the request
 *
 * `node dev/demo-upstream.mjs [PORT]` runs it alone.
 */

import { createServer } from 'node:http'
import { Readable } from 'node:stream'
import { pathToFileURL } from 'node:url'

/**
 * @param {{ port: number }} options port 0: any free one
 * @returns {Promise<{ url: string, close: () => void }>}
 */
export async function startDemoUpstream({ port }) {
  const server = createServer(answer)
  await new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => resolve(undefined))
  })
  const address = server.address()
  const actualPort = typeof address === 'object' && address !== null ? address.port : port
  return {
    url: `http://127.0.0.1:${actualPort}`,
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

/**
 * @param {import('node:http').IncomingMessage} request
 * @param {import('node:http').ServerResponse} response
 */
function answer(request, response) {
  const [path = '/'] = (request.url ?? '/').split('?', 1)
  const bytes = /^\/bytes\/(\d{1,11})$/.exec(path)?.[1]
  if (bytes !== undefined) return sendBytes(response, Number(bytes))
  if (path === '/echo') return echo(request, response)
  request.resume()
  if (path !== '/') return send(response, 404, 'text/plain', `There is nothing at ${path}.\n`)
  const text = describe(request)
  const wantsPage = request.headers.accept?.includes('text/html') ?? false
  return wantsPage ? send(response, 200, 'text/html', page(text)) : send(response, 200, 'text/plain', text)
}

/**
 * @param {import('node:http').ServerResponse} response
 * @param {number} status
 * @param {string} type
 * @param {string} body
 */
function send(response, status, type, body) {
  response.writeHead(status, {
    'content-type': `${type}; charset=utf-8`,
    'content-length': Buffer.byteLength(body),
  })
  response.end(body)
}

/**
 * @param {import('node:http').ServerResponse} response
 * @param {number} count
 */
function sendBytes(response, count) {
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': count })
  Readable.from(chunks(count), { objectMode: false }).pipe(response)
}

/** @param {number} count */
function* chunks(count) {
  const chunk = Buffer.alloc(CHUNK_BYTES, '0123456789abcdef')
  for (let left = count; left > 0; left -= CHUNK_BYTES) yield chunk.subarray(0, Math.min(left, CHUNK_BYTES))
}

/**
 * @param {import('node:http').IncomingMessage} request
 * @param {import('node:http').ServerResponse} response
 */
function echo(request, response) {
  response.writeHead(200, { 'content-type': request.headers['content-type'] ?? 'application/octet-stream' })
  request.pipe(response)
}

/** @param {import('node:http').IncomingMessage} request */
function describe(request) {
  const headers = pairs(request.rawHeaders).map(([name, value]) => `${name}: ${value}`)
  return [
    'It works: TLS ended at Sealgate, the handshake was signed inside the HSM,',
    'and this is the request as the upstream behind it received it.',
    '',
    `${request.method} ${request.url} HTTP/${request.httpVersion}`,
    ...headers,
    '',
  ].join('\n')
}

/**
 * @param {readonly string[]} flat name, value, name, value, …
 * @returns {[string, string][]}
 */
function pairs(flat) {
  return flat.flatMap((name, index) => (index % 2 === 0 ? [[name, flat[index + 1] ?? '']] : []))
}

/** @param {string} text */
function page(text) {
  const escaped = text.replace(/[&<>]/g, (character) => `&#${character.charCodeAt(0)};`)
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sealgate</title>
<style>body { max-width: 50rem; margin: 3rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui } pre { white-space: pre-wrap }</style>
<h1>Sealgate</h1>
<pre>${escaped}</pre>
</html>
`
}

const CHUNK_BYTES = 64 * 1024

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { url } = await startDemoUpstream({ port: Number(process.argv[2] ?? 9000) })
  process.stdout.write(`${url}\n`)
}
