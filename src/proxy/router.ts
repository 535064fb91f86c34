/** Host and path to upstream: the routes of one listener, compiled once. The first match serves. */

import { namePattern } from '../upstream/name-pattern.ts'
import type { Route } from './options.ts'
import { normalPath, normalPrefix } from './path.ts'

export type Router<T> = (host: string, path: string) => T | undefined

/**
 * @param upstream gives what a route leads to.
 * @returns a function of the Host field and the path as received. Port and case of the host are of no matter, nor is how
 *   the path is spelled (path.ts); it is compared as a plain prefix, with case: a route for `/admin` also serves `/administrator`.
 */
export function compileRoutes<T>(
  routes: readonly Route[],
  upstream: (name: string, route: Route) => T,
): Router<T> {
  const compiled = routes.map((route) => ({
    matchesHost: namePattern(route.host),
    path: normalPrefix(route.path ?? ''),
    upstream: upstream(route.upstream, route),
  }))
  const [only] = compiled
  const catchAll = routes[0]?.host === undefined && (only?.path === '' || only?.path === '/')
  if (only !== undefined && catchAll) return () => only.upstream

  return (host, target) => {
    const name = hostname(host)
    const path = normalPath(target)
    const match = compiled.find((route) => path.startsWith(route.path) && route.matchesHost(name))
    return match?.upstream
  }
}

/** Lower case, without port, without the root's dot. */
export function hostname(host: string): string {
  const end = host.startsWith('[') ? host.indexOf(']') + 1 : host.indexOf(':')
  const name = (end > 0 ? host.slice(0, end) : host).toLowerCase()
  return name.endsWith('.') ? name.slice(0, -1) : name
}
