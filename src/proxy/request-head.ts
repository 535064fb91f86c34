/**
 * From the header lines of a request to what the upstream gets: hop-by-hop fields removed, the client's own
 * claims about where it comes from replaced, framing and Host checked.
 *
 * Works on the flat name/value list as received; one pass, no header object. The path is forwarded exactly
 * as it came (no decoding, no dot segments resolved); path.ts is what routes make of it.
 */

import { RequestError } from '../errors.ts'
import { fieldRule, removeNominated } from './fields.ts'
import type { Forwarding } from './forwarding.ts'

export interface RequestHead {
  readonly method: string
  /** Origin form (RFC 9112 §3.2.1), query included; `*` for `OPTIONS *`. */
  readonly path: string
  /** As received; empty when an HTTP/1.0 client sent none. */
  readonly host: string
  /** Flat name/value list for the upstream, Host and the forwarding fields included. */
  readonly headers: string[]
  /** A body follows the headers. */
  readonly hasBody: boolean
}

export interface RequestStart {
  readonly method: string
  /** As on the request line (RFC 9112 §3.2); for HTTP/2, `:path`. */
  readonly target: string
  readonly version: '1.0' | '1.1' | '2.0'
  /** HTTP/2 only: `:authority`. */
  readonly authority: string | undefined
  /** HTTP/2 only: whether DATA frames follow. HTTP/1.1 tells by its framing fields. */
  readonly body: boolean
}

/** @throws {RequestError} `ERR_REQUEST_MALFORMED`: nothing may be forwarded then. */
export function requestHead(
  start: RequestStart,
  rawHeaders: readonly string[],
  forwarding: Forwarding,
): RequestHead {
  const headers: string[] = []
  let host: string | undefined
  let cookie: string | undefined
  let connection = ''
  let hasBody = start.body

  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? ''
    const value = rawHeaders[i + 1] ?? ''
    const rule = fieldRule(name)
    switch (rule.action) {
      case 'forward':
        headers.push(rule.name, value)
        break
      case 'drop':
        break
      case 'host':
        if (host !== undefined) throw malformed('more than one Host field')
        host = value
        break
      case 'connection':
        connection = connection === '' ? value : `${connection},${value}`
        break
      case 'cookie':
        // HTTP/2 clients may split it; before HTTP/2 there is one field only (RFC 9113 §8.2.3).
        cookie = cookie === undefined ? value : `${cookie}; ${value}`
        break
      case 'content-length':
        if (value !== '0' && start.version !== '2.0') hasBody = true
        headers.push('content-length', value)
        break
      case 'transfer-encoding':
        // A coding we do not undo, or one that HTTP/1.0 cannot have, leaves the framing in doubt (RFC 9112 §6.1).
        if (value.toLowerCase() !== 'chunked' || start.version !== '1.1') {
          throw malformed('a transfer coding other than chunked')
        }
        hasBody = true
        break
    }
  }

  if (cookie !== undefined) headers.push('cookie', cookie)
  if (connection !== '') removeNominated(headers, connection)
  const target = resolveTarget(start, host)
  const checked = checkedHost(target.host, start.version)
  if (checked !== undefined) headers.push('host', checked)
  forwarding.append(headers, checked ?? '')
  return { method: start.method, path: target.path, host: checked ?? '', headers, hasBody }
}

/**
 * The authority of an absolute-form target wins over Host (RFC 9112 §3.2.2); `:authority` and Host must agree
 * (RFC 9113 §8.3.1).
 */
function resolveTarget(start: RequestStart, host: string | undefined): { path: string; host?: string } {
  const { target, authority } = start
  if (authority !== undefined && host !== undefined && authority.toLowerCase() !== host.toLowerCase()) {
    throw malformed(':authority and Host differ')
  }
  const effective = authority ?? host
  const known = effective === undefined ? {} : { host: effective }
  if (target.startsWith('/')) return { path: target, ...known }
  if (target === '*' && start.method === 'OPTIONS') return { path: target, ...known }
  const absolute = ABSOLUTE_FORM.exec(target)
  if (absolute === null || start.version === '2.0') throw malformed('a target that is no path')
  const path = absolute[2] ?? ''
  return { path: path.startsWith('/') ? path : `/${path}`, host: absolute[1] ?? '' }
}

const ABSOLUTE_FORM = /^https?:\/\/([^/?#@]+)([/?][^#]*)?$/i

/** uri-host [":" port] (RFC 9110 §7.2), without the percent-encoding nobody uses. */
const HOST = /^(?:[A-Za-z0-9._~!$&'()*+,;=-]*|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?$/

function checkedHost(host: string | undefined, version: RequestStart['version']): string | undefined {
  if (host === undefined) {
    if (version === '1.0') return undefined
    throw malformed('no Host')
  }
  if (!HOST.test(host)) throw malformed('a Host that is no host')
  return host
}

function malformed(what: string): RequestError {
  return new RequestError('ERR_REQUEST_MALFORMED', `the request has ${what}`)
}
