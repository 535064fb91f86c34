/** Every key of `listeners`. */

import { z } from 'zod'
import { httpClientCertificateSchema, tcpClientCertificateSchema } from './client-certificate-schema.ts'
import { address, duration, integer, name, network, size, text } from './fields.ts'
import { DAY, KIB, MINUTE, SECOND } from './quantities.ts'
import { tlsPolicySchema } from './tls-policy-schema.ts'

const upstreamName = () => name().meta({ 'x-type': 'name of an upstream' })

export type RouteEntry = z.output<typeof routeSchema>
const routeSchema = z
  .strictObject({
    match: z
      .strictObject({
        host: text({ max: 255 })
          .optional()
          .describe('Host name, exact or with `*.` for one label. Absent: every host.'),
        path: text()
          .regex(/^\//, 'must start with "/"')
          .optional()
          .describe(
            'Prefix of the path, starts with `/`; case matters, spelling does not: `/%61`, `//a` and `/x/../a` are `/a` here. Upstreams get paths as they came. Absent: every path.',
          ),
      })
      .optional()
      .describe('What the route is for. Absent: every request.'),
    upstream: upstreamName().describe('Who serves it.'),
    client_certificate: z
      .literal('require')
      .optional()
      .describe(
        'require: a request on a connection without a client certificate gets a 403. The listener must ask for one. A path that servers read differently (`..`, a fragment) then gets a 400 without one on all routes, and `%2F`, `%5C` and `\\` count as slashes as well, and what follows two slashes as a host. A server that cuts `;parameters`, decodes twice or ignores case belongs behind a listener that requires certificates.',
      ),
  })
  .meta({ title: 'listeners[].routes[]' })

const tcpRouteSchema = z
  .strictObject({
    match: z
      .strictObject({
        server_name: text({ max: 255 })
          .optional()
          .describe(
            'Server name that the client asked for, exact or with `*.` for one label. Absent: every name, and none.',
          ),
        alpn: text({ max: 255 })
          .optional()
          .describe(
            "Application protocol that was agreed on; it must be in the listener's `alpn`. Absent: every protocol, and none.",
          ),
      })
      .optional()
      .describe('What the route is for. Absent: every connection.'),
    upstream: upstreamName().describe('Where the bytes go; its servers are `tcp://`.'),
  })
  .meta({ title: 'listeners[].routes[] with protocol: tcp' })

const connectionLimits = {
  max_connections: integer({ min: 1, max: 10_000_000 })
    .optional()
    .describe(
      'Connections open at a time; one more is closed unanswered. Absent: as many as there are file descriptors.',
    ),
  max_handshakes: integer({ min: 1, max: 10_000_000 })
    .optional()
    .describe(
      'Of those, handshakes under way at a time: so many that move on, and so many that wait for their signature. Resumed ones never wait for one, so a slow HSM does not shut them out. Useful: what the HSMs sign within `tls.handshake_timeout`.',
    ),
  max_connections_per_address: integer({ min: 1, max: 10_000_000 })
    .optional()
    .describe(
      'Connections open at a time from one client: an IPv4 address, or an IPv6 /64; behind a balancer, whom its PROXY header names. One more is closed unanswered. Leave room for offices and mobile networks that share one address.',
    ),
}

const proxyProtocol = () =>
  z
    .strictObject({
      from: z
        .array(network())
        .min(1, 'is empty: name the networks of the balancers')
        .meta({ 'x-type': 'list of networks' })
        .describe(
          'Where balancers are: connections from here must begin with a PROXY header, whose source becomes the client in logs and `X-Forwarded-For`. Everybody else speaks TLS at once and cannot claim an address.',
        ),
    })
    .optional()
    .describe('A balancer in front sends the PROXY protocol, version 1 or 2.')
    .meta({ title: 'listeners[].proxy_protocol' })

const listenerKeys = {
  address: address().describe(
    'Where to listen: an IP address and a port. `0.0.0.0` and `[::]` mean all addresses, port 0 any free one.',
  ),
  name: name()
    .optional()
    .describe('Name in logs and metrics. Default: `listeners[0]` for the first listener, and so on.'),
}

const listenerTls = () =>
  tlsPolicySchema
    .extend({
      unknown_server_name: z
        .enum(['default', 'refuse'])
        .prefault('default')
        .describe(
          'A client that asks for a name no certificate has: `default` serves the first certificate, `refuse` ends with the alert unrecognized_name. A client that names no server gets the first certificate.',
        ),
    })
    .prefault({})
    .meta({ title: 'listeners[].tls' })
    .describe('TLS on this listener. A certificate may have settings of its own on top.')

export type ListenerEntry = z.output<typeof listenerSchema>
export const listenerSchema = z.discriminatedUnion('protocol', [
  z
    .strictObject({
      protocol: z.literal('http').describe('TLS in, HTTP/2 and HTTP/1.1 inside it, routed to upstreams.'),
      ...listenerKeys,
      tls: listenerTls(),
      misdirected: z
        .enum(['refuse', 'serve'])
        .prefault('refuse')
        .describe(
          "A request for a host that the connection's certificate does not have: `refuse` answers 421 (RFC 9110 §15.5.20), and the client comes again over a connection of its own. Served in any case: the name the client asked for in TLS, and IP addresses.",
        ),
      routes: z
        .array(routeSchema)
        .min(1, 'is empty: give at least one route')
        .optional()
        .meta({ 'x-type': 'list of routes' })
        .describe('Tried in order; the first that matches serves the request, none is a 404.'),
      upstream: upstreamName().optional().describe('Short for one route that matches everything.'),
      max_header: size({ min: 1 * KIB, max: 1_024 * KIB })
        .prefault('16KiB')
        .describe('All headers of a request together; more is a 431. Raise it for large cookies or tokens.'),
      header_timeout: duration({ min: 100, max: 10 * MINUTE })
        .prefault('10s')
        .describe('From the first byte of a request to the end of its headers. Stops slow-header attacks.'),
      keep_alive: duration({ min: 1 * SECOND, max: 1 * DAY })
        .prefault('75s')
        .describe(
          'A connection without a request is closed after this. Keep it above the idle timeout of a load balancer in front.',
        ),
      proxy_protocol: proxyProtocol(),
      ...connectionLimits,
      client_certificate: httpClientCertificateSchema
        .optional()
        .describe('Clients are asked for a certificate (mTLS). Absent: they are not.'),
    })
    .meta({ title: 'listeners[] with protocol: http' }),
  z
    .strictObject({
      protocol: z.literal('tcp').describe('TLS in, the bytes as they are to an upstream.'),
      ...listenerKeys,
      tls: listenerTls(),
      routes: z
        .array(tcpRouteSchema)
        .min(1, 'is empty: give at least one route')
        .optional()
        .meta({ 'x-type': 'list of routes' })
        .describe(
          'Tried in order; the first that matches takes the connection, and one that none takes is closed.',
        ),
      upstream: upstreamName()
        .optional()
        .describe('Short for one route that matches everything; its servers are `tcp://`.'),
      alpn: z
        .array(text({ max: 255 }))
        .prefault([])
        .meta({ 'x-type': 'list of text' })
        .describe(
          'Application protocols to agree on (RFC 7301), most wanted first. Absent: none is negotiated.',
        ),
      proxy_protocol: proxyProtocol(),
      ...connectionLimits,
      client_certificate: tcpClientCertificateSchema
        .optional()
        .describe('Clients are asked for a certificate (mTLS). Absent: they are not.'),
    })
    .meta({ title: 'listeners[] with protocol: tcp' }),
  z
    .strictObject({
      protocol: z.literal('redirect').describe('Plain HTTP in; every request is redirected to https.'),
      ...listenerKeys,
    })
    .meta({ title: 'listeners[] with protocol: redirect' }),
])
