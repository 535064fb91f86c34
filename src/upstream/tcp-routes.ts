/** Server name and application protocol to upstream: the routes of one tcp listener, compiled once. */

import { RequestError } from '../errors.ts'
import { namePattern } from './name-pattern.ts'
import type { TcpRouteOptions } from './options.ts'

/** Of a connection, as its handshake agreed. */
export interface TcpRouteFacts {
  readonly serverName: string | undefined
  readonly alpnProtocol: string | undefined
}

/** @throws {RequestError} `ERR_REQUEST_NO_ROUTE` when no route fits. */
export type TcpRouter = (facts: TcpRouteFacts) => string

/** @returns a function that names the upstream of the first route that fits. */
export function compileTcpRoutes(routes: readonly TcpRouteOptions[]): TcpRouter {
  const compiled = routes.map(({ serverName, alpn, upstream }) => {
    const nameFits = namePattern(serverName)
    return {
      upstream,
      fits: (facts: TcpRouteFacts) =>
        nameFits(facts.serverName?.toLowerCase() ?? '') &&
        (alpn === undefined || alpn === facts.alpnProtocol),
    }
  })
  return (facts) => {
    const route = compiled.find(({ fits }) => fits(facts))
    if (route === undefined) throw noRoute(facts)
    return route.upstream
  }
}

function noRoute({ serverName, alpnProtocol }: TcpRouteFacts): RequestError {
  const name = serverName === undefined ? 'no server name' : `server name "${serverName}"`
  const protocol = alpnProtocol === undefined ? '' : ` and protocol "${alpnProtocol}"`
  return new RequestError('ERR_REQUEST_NO_ROUTE', `no route takes a connection with ${name}${protocol}`)
}
