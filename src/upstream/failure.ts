/** What undici reports, in our codes: one table. */

import { type ErrorCode, RequestError, type SealgateError, UpstreamError } from '../errors.ts'

type UpstreamCode = Extract<ErrorCode, `ERR_UPSTREAM_${string}`>

/** undici's and Node's error codes → ours. Anything else means the peer does not speak HTTP. */
const CODES: Readonly<Record<string, UpstreamCode>> = {
  UND_ERR_CONNECT_TIMEOUT: 'ERR_UPSTREAM_TIMEOUT',
  UND_ERR_HEADERS_TIMEOUT: 'ERR_UPSTREAM_TIMEOUT',
  UND_ERR_BODY_TIMEOUT: 'ERR_UPSTREAM_TIMEOUT',
  ETIMEDOUT: 'ERR_UPSTREAM_TIMEOUT',
  ECONNREFUSED: 'ERR_UPSTREAM_CONNECT',
  EHOSTUNREACH: 'ERR_UPSTREAM_CONNECT',
  ENETUNREACH: 'ERR_UPSTREAM_CONNECT',
  EADDRNOTAVAIL: 'ERR_UPSTREAM_CONNECT',
  EMFILE: 'ERR_UPSTREAM_CONNECT',
  ENOTFOUND: 'ERR_UPSTREAM_CONNECT',
  EAI_AGAIN: 'ERR_UPSTREAM_CONNECT',
  UND_ERR_SOCKET: 'ERR_UPSTREAM_RESET',
  ECONNRESET: 'ERR_UPSTREAM_RESET',
  ECONNABORTED: 'ERR_UPSTREAM_RESET',
  EPIPE: 'ERR_UPSTREAM_RESET',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'ERR_UPSTREAM_RESET',
  UND_ERR_DESTROYED: 'ERR_UPSTREAM_NONE_AVAILABLE',
  UND_ERR_CLOSED: 'ERR_UPSTREAM_NONE_AVAILABLE',
}

/** undici refused to send the request: it is the client's fault, not the server's. */
const REFUSED: readonly string[] = [
  'UND_ERR_INVALID_ARG',
  'UND_ERR_NOT_SUPPORTED',
  'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH',
]

/**
 * @param address `host:port` of the server.
 * @param begun the headers of the response have come.
 */
export function upstreamFailure(cause: Error, address: string, begun: boolean): SealgateError {
  const code = errorCode(cause)
  if (REFUSED.includes(code)) {
    return new RequestError('ERR_REQUEST_MALFORMED', `the request cannot be forwarded: ${cause.message}`, {
      cause,
    })
  }
  // undici says so of everything that is wrong behind Content-Length, as the body never came.
  if (code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH' && !begun) {
    const text = `server ${address}: a field of the response is malformed, or its headers break off`
    return new UpstreamError('ERR_UPSTREAM_PROTOCOL', text, { address, cause })
  }
  // undici's words for 100 Continue. It never sends an Expect, so nobody has asked for one.
  if (code === 'UND_ERR_SOCKET' && cause.message === 'bad response') {
    const text = `server ${address}: it sent 100 Continue, which it was not asked for`
    return new UpstreamError('ERR_UPSTREAM_PROTOCOL', text, { address, cause })
  }
  return new UpstreamError(CODES[code] ?? 'ERR_UPSTREAM_PROTOCOL', `server ${address}: ${cause.message}`, {
    address,
    cause,
  })
}

/** The connection was never made: whatever the method, the request may go elsewhere. */
export function isConnectFailure(cause: Error): boolean {
  const code = errorCode(cause)
  return code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'ETIMEDOUT' || CODES[code] === 'ERR_UPSTREAM_CONNECT'
}

function errorCode(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : ''
}
