/** Our own answers: what a client is told when its request cannot be served. The reason stays in the log. */

import { STATUS_CODES } from 'node:http'
import { httpStatus } from '../errors.ts'
import type { ResponseHead } from './response-head.ts'

export interface OwnResponse {
  readonly head: ResponseHead
  /** undefined for HEAD. */
  readonly body: Buffer | undefined
}

/** @param error decides the status (src/errors.ts). */
export function errorResponse(error: unknown, requestId: string, method: string): OwnResponse {
  return ownResponse(httpStatus(error), requestId, method)
}

/** The answer to `OPTIONS *`, which asks about the server as such (RFC 9110 §9.3.7). */
export function noContent(): OwnResponse {
  const head = {
    status: 204,
    statusText: 'No Content',
    headers: [],
    contentLength: undefined,
    bodiless: true,
  }
  return { head, body: undefined }
}

function ownResponse(status: number, requestId: string, method: string): OwnResponse {
  const statusText = STATUS_CODES[status] ?? 'Error'
  const body = Buffer.from(`${status} ${statusText}\nrequest ${requestId}\n`)
  const bodiless = method === 'HEAD'
  return {
    head: {
      status,
      statusText,
      headers: ['content-type', 'text/plain; charset=utf-8', 'content-length', String(body.length)],
      contentLength: body.length,
      bodiless,
    },
    body: bodiless ? undefined : body,
  }
}

/** The whole message in bytes, for a connection that node:http has given up on. */
export function rawErrorResponse(status: number, requestId: string): string {
  const { head, body } = ownResponse(status, requestId, 'GET')
  const lines = [`HTTP/1.1 ${status} ${head.statusText}`, 'connection: close']
  for (let i = 0; i + 1 < head.headers.length; i += 2)
    lines.push(`${head.headers[i]}: ${head.headers[i + 1]}`)
  return `${lines.join('\r\n')}\r\n\r\n${body?.toString() ?? ''}`
}
