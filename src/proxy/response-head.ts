/** From the header lines of an upstream's response to what the client gets: hop-by-hop fields removed. */

import { STATUS_CODES } from 'node:http'
import { UpstreamError } from '../errors.ts'
import { removeFields } from './client-fields.ts'
import { removeNominated } from './fields.ts'

export interface ResponseHead {
  readonly status: number
  /** Reason phrase as sent by the upstream; HTTP/2 has none. */
  readonly statusText: string
  /** Flat name/value list. */
  readonly headers: string[]
  /** undefined: the length is not known beforehand. */
  readonly contentLength: number | undefined
  /** No body follows, whatever the fields say: HEAD, 204, 304 (RFC 9110 §6.4.1). */
  readonly bodiless: boolean
}

/**
 * @param raw flat name/value list as undici delivers it.
 * @param method of the request.
 * @throws {UpstreamError} `ERR_UPSTREAM_PROTOCOL` for a transfer coding that is not ours to forward.
 */
export function responseHead(
  status: number,
  statusText: string,
  raw: readonly Buffer[],
  method: string,
): ResponseHead {
  const headers: string[] = []
  let contentLength: number | undefined
  let contentLengthAt = -1
  let announcesTrailers = false
  let chunked = false
  let connection = ''

  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i]?.toString('latin1') ?? ''
    const value = raw[i + 1]?.toString('latin1') ?? ''
    // Lengths first: most fields are none of these, and a comparison of numbers says so.
    switch (name.length) {
      case 2:
        // For requests only; node:http2 takes neither this nor HTTP2-Settings.
        if (is(name, 'te')) continue
        break
      case 7:
        if (is(name, 'upgrade')) continue
        if (is(name, 'trailer')) announcesTrailers = true
        break
      case 10:
        if (is(name, 'keep-alive')) continue
        if (is(name, 'connection')) {
          connection = connection === '' ? value : `${connection},${value}`
          continue
        }
        break
      case 14:
        if (is(name, 'content-length')) {
          contentLength = Number(value)
          contentLengthAt = headers.length
        }
        if (is(name, 'http2-settings')) continue
        break
      case 16:
        if (is(name, 'proxy-connection')) continue
        break
      case 17:
        if (is(name, 'transfer-encoding')) {
          if (value.toLowerCase() !== 'chunked') {
            throw new UpstreamError('ERR_UPSTREAM_PROTOCOL', `the server uses transfer coding ${value}`)
          }
          chunked = true
          continue
        }
        break
    }
    headers.push(name, value)
  }

  const bodiless = method === 'HEAD' || status === 204 || status === 304
  // Chunked framing overrides a length (RFC 9112 §6.3); a 204 has neither (RFC 9110 §8.6).
  if (contentLengthAt >= 0 && (chunked || status === 204)) {
    headers.splice(contentLengthAt, 2)
    contentLength = undefined
  }
  // Without chunks on this side there is no place for trailers.
  if (announcesTrailers && (bodiless || contentLength !== undefined))
    removeFields(headers, (name) => is(name, 'trailer'))
  if (connection !== '') removeNominated(headers, connection)
  return { status, statusText, headers, contentLength, bodiless }
}

/**
 * The reason phrase in its bytes, as node:http writes them; the usual one when they are not to be had. undici takes them for
 * UTF-8: what is not has been replaced by U+FFFD, and Latin-1 can no longer be told.
 */
export function reasonPhrase({ status, statusText }: ResponseHead): string {
  if (ASCII.test(statusText)) return statusText
  const bytes = Buffer.from(statusText, 'utf8').toString('latin1')
  return statusText.includes('\ufffd') || !REASON.test(bytes) ? (STATUS_CODES[status] ?? '') : bytes
}

const ASCII = /^[\t\x20-\x7e]*$/
/** RFC 9112 §4; a byte a character. */
const REASON = /^[\t\x20-\x7e\x80-\xff]*$/

/** The Link fields of an informational response (RFC 8297 §2): all that is forwarded of it. */
export function linkFields(raw: readonly Buffer[]): string[] {
  const links: string[] = []
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if (raw[i]?.toString('latin1').toLowerCase() === 'link') links.push(raw[i + 1]?.toString('latin1') ?? '')
  }
  return links
}

/** Trailer fields as a flat list of strings; framing and hop-by-hop fields have no place there (RFC 9110 §6.5.1). */
export function responseTrailers(raw: readonly (Buffer | string)[] | null): string[] {
  if (raw === null || raw.length === 0) return []
  const trailers: string[] = []
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = String(raw[i])
    if (!NOT_IN_TRAILERS.has(name.toLowerCase())) trailers.push(name, text(raw[i + 1]))
  }
  return trailers
}

const NOT_IN_TRAILERS: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'set-cookie',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

function is(name: string, lowerCase: string): boolean {
  return name === lowerCase || name.toLowerCase() === lowerCase
}

function text(value: Buffer | string | undefined): string {
  return typeof value === 'string' ? value : (value?.toString('latin1') ?? '')
}
