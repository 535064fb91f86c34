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
 *   whatever certificate it got: it has seen that one and stayed. Without a server name an IP address is served as
 *   well: probes of load balancers name nothing else.
 */
export function compileAuthorities(certificates: readonly (readonly string[])[]): AuthorityCheck {
  const namesBeside = new Map<string, ReadonlySet<string>>()
  for (const name of certificates.flat()) {
    namesBeside.set(name, new Set(certificates.filter((names) => names.includes(name)).flat()))
  }
  const first = namesBeside.get(certificates[0]?.[0] ?? '') ?? new Set<string>()

  return (serverName, host) => {
    const wanted = hostname(host)
    if (wanted === '') return true
    const asked = serverName === undefined ? undefined : hostname(serverName)
    if (wanted === asked) return true
    if (asked === undefined) return isIP(wanted.replace(/^\[(.*)\]$/, '$1')) !== 0 || has(first, wanted)
    return has(namesBeside.get(asked) ?? namesBeside.get(wildcardOf(asked)) ?? first, wanted)
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
