/**
 * Does a request belong on the connection it came over? (RFC 9110 §7.4 and §15.5.20, RFC 9113 §9.1.1)
 *
 * A client may use one connection for every name its certificate has. Any other host is misdirected: its TLS settings,
 * which go by name, were not the ones agreed on.
 */

import { isIP } from 'node:net'
import { hostname } from './router.ts'

/** @param serverName as the client sent it in TLS. @param host the request's authority, port and all; may be empty. */
export type AuthorityCheck = (serverName: string | undefined, host: string) => boolean

/**
 * @param certificates the names of each, lower case, exact or with `*.` for one label; the first one is served where
 *   no name fits.
 * @returns whether the certificates for a server name have the host. The name the client asked for itself is served
 *   whatever certificate it got: it has seen that one and stayed. An IP address is served over every connection: no
 *   server name can be one (RFC 6066 §3), and probes of load balancers name nothing else.
 */
export function compileAuthorities(certificates: readonly (readonly string[])[]): AuthorityCheck {
  const namesBeside = new Map<string, ReadonlySet<string>>()
  for (const name of certificates.flat()) {
    namesBeside.set(name, new Set(certificates.filter((names) => names.includes(name)).flat()))
  }
  const first = namesBeside.get(certificates[0]?.[0] ?? '') ?? new Set<string>()

  return (serverName, host) => {
    const wanted = hostname(host)
    const asked = hostname(serverName ?? '')
    if (wanted === '' || wanted === asked) return true
    const names = namesBeside.get(asked) ?? namesBeside.get(wildcardOf(asked)) ?? first
    return has(names, wanted) || isIP(wanted.replace(/^\[(.*)\]$/, '$1')) !== 0
  }
}

function has(names: ReadonlySet<string>, name: string): boolean {
  return names.has(name) || names.has(wildcardOf(name))
}

/** `a.example.com` → `*.example.com`: one label (RFC 9525 §6.3). */
function wildcardOf(name: string): string {
  const dot = name.indexOf('.')
  return dot <= 0 ? name : `*${name.slice(dot)}`
}
