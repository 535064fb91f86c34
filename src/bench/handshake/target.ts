/** Where a listener is: `https://host:port`, `host:port`, `[::1]:8443` or a bare host. */

import { isIP } from 'node:net'

import { SealgateError } from '../../errors.ts'

export interface Target {
  readonly host: string
  readonly port: number
}

/** @throws {SealgateError} `ERR_USAGE` */
export function parseTarget(text: string): Target {
  const url = parseUrl(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`)
  const problem = url === undefined ? 'is no URL and no HOST:PORT' : faultOf(url)
  if (url === undefined || problem !== undefined) {
    throw new SealgateError(
      'ERR_USAGE',
      `${text} ${problem}; give the listener, such as https://example.com:8443 or 127.0.0.1:8443`,
    )
  }
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port === '' ? HTTPS_PORT : Number(url.port) }
}

/** As a URL has it. */
export function targetText({ host, port }: Target): string {
  return `${isIP(host) === 6 ? `[${host}]` : host}:${port}`
}

/** An address of this machine only: its 2^24 addresses are as many more client ports. */
export function isLoopback(address: string): boolean {
  return /^127\./.test(address)
}

function parseUrl(text: string): URL | undefined {
  try {
    return new URL(text)
  } catch {
    return undefined
  }
}

function faultOf({ protocol, hostname, port }: URL): string | undefined {
  if (protocol === 'http:') return 'is without TLS: there is no handshake to measure'
  if (!['https:', 'tls:', 'tcp:', 'wss:'].includes(protocol)) return `is not TLS (${protocol.slice(0, -1)})`
  if (hostname === '') return 'names no host'
  return port === '0' ? 'has port 0' : undefined
}

const HTTPS_PORT = 443
