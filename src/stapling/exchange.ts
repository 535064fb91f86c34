/** One HTTP exchange with an OCSP responder (RFC 6960 appendix A, RFC 5019 §5), bounded in time and size. */

import { type Dispatcher, errors, request } from 'undici'
import type { Trouble } from './verdict.ts'

export interface ExchangeOptions {
  readonly dispatcher: Dispatcher
  readonly responder: string
  /** DER OCSPRequest. */
  readonly request: Uint8Array
  readonly method: 'GET' | 'POST'
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

export type Exchanged =
  | { readonly response: Uint8Array }
  | { readonly outcome: Trouble; readonly message: string }

/** Never rejects. Redirects are not followed: a responder's place stands in the certificate. */
export async function exchange(options: ExchangeOptions): Promise<Exchanged> {
  const { dispatcher, method, timeoutMs } = options
  const late = AbortSignal.timeout(timeoutMs)
  const signal = AbortSignal.any([options.signal, late])
  const url = method === 'GET' ? getUrl(options.responder, options.request) : options.responder
  try {
    const { statusCode, headers, body } = await request(url, {
      dispatcher,
      method,
      signal,
      headers: { accept: TYPE, ...(method === 'POST' && { 'content-type': REQUEST_TYPE }) },
      ...(method === 'POST' && { body: options.request }),
    })
    if (statusCode !== 200) {
      body.on('error', () => {}).destroy()
      return { outcome: 'http-status', message: `it answers ${method} with HTTP status ${statusCode}` }
    }
    const type = headers['content-type'] ?? 'nothing'
    if (!String(type).toLowerCase().startsWith(TYPE)) {
      body.on('error', () => {}).destroy()
      return { outcome: 'content-type', message: `it answers with ${type} instead of ${TYPE}` }
    }
    return { response: await body.bytes() }
  } catch (error) {
    return failure(error, late.aborted, timeoutMs)
  }
}

/** GET where the URL stays short enough for every cache on the way (RFC 5019 §5), then POST. */
export function methodsFor(responder: string, request: Uint8Array): readonly ('GET' | 'POST')[] {
  return getUrl(responder, request).length <= MAX_GET_URL ? ['GET', 'POST'] : ['POST']
}

function getUrl(responder: string, request: Uint8Array): string {
  const path = encodeURIComponent(Buffer.from(request).toString('base64'))
  return `${responder.replace(/\/$/, '')}/${path}`
}

function failure(error: unknown, late: boolean, timeoutMs: number): Exchanged {
  if (late) return { outcome: 'timeout', message: `it has not answered within ${timeoutMs} ms` }
  if (error instanceof errors.ResponseExceededMaxSizeError)
    return { outcome: 'too-large', message: `its answer has more than ${MAX_RESPONSE_BYTES} bytes` }
  const reason = error instanceof Error ? error.message || codeOf(error) : String(error)
  return { outcome: 'connection', message: reason }
}

/** Of an AggregateError, whose message is empty: a name with several addresses. */
function codeOf(error: Error): string {
  return 'code' in error ? String(error.code) : error.name
}

/** What a response may have: one with a responder's certificate has some 2 KiB, with post-quantum keys some 20. */
export const MAX_RESPONSE_BYTES = 65_536
const MAX_GET_URL = 255
const TYPE = 'application/ocsp-response'
const REQUEST_TYPE = 'application/ocsp-request'
