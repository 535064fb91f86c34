/**
 * An `HttpFront` on real sockets: a TCP server stands where TLS would be and hands over what it accepts.
 * One port speaks HTTP/1.x, one HTTP/2 with prior knowledge.
 */

import { createServer, type Server, type Socket } from 'node:net'
import { Writable } from 'node:stream'
import { pino } from 'pino'
import { createMetrics, type Metrics } from '../../../../src/metrics/metrics.ts'
import { HttpFront } from '../../../../src/proxy/front.ts'
import type { HttpListenerOptions, Route } from '../../../../src/proxy/options.ts'
import type { UpstreamOptions } from '../../../../src/upstream/options.ts'
import { freePort } from '../../../support/free-port.ts'

export interface FrontServer extends AsyncDisposable {
  readonly front: HttpFront
  readonly metrics: Metrics
  readonly http1Port: number
  readonly http2Port: number
  /** Access log lines so far. */
  readonly lines: AccessLine[]
  /** Connections that TLS would have ended with a reset. */
  readonly resets: number[]
  /** Our ends of the connections, by handle: 1, 2, … as they came. */
  readonly sockets: ReadonlyMap<number, Socket>
}

export interface AccessLine extends Record<string, unknown> {
  readonly method: string
  readonly status: number
  readonly code?: string
}

export const PEER = '203.0.113.7'

export async function startFront(options: {
  /** Server URLs per upstream; the first upstream serves every request unless `routes` says otherwise. */
  readonly upstreams: Readonly<Record<string, readonly number[]>>
  readonly routes?: readonly Route[]
  readonly listener?: Partial<HttpListenerOptions>
  readonly upstream?: Partial<UpstreamOptions>
  readonly peer?: string
  readonly stallTimeoutMs?: number
}): Promise<FrontServer> {
  const names = Object.keys(options.upstreams)
  const listener: HttpListenerOptions = {
    name: 'web',
    routes: options.routes ?? [{ host: undefined, path: undefined, upstream: names[0] ?? '' }],
    maxHeaderBytes: 16 * 1024,
    headerTimeoutMs: 5_000,
    keepAliveMs: 30_000,
    ...options.listener,
  }
  const sockets = new Map<number, Socket>()
  const resets: number[] = []
  const lines: AccessLine[] = []
  const metrics = createMetrics()
  const front = new HttpFront({
    listeners: [{ id: 1, http: listener }],
    upstreams: names.map((name) => upstreamOptions(name, options.upstreams[name] ?? [], options.upstream)),
    log: pino({ base: null }, collector(lines)),
    metrics,
    stallTimeoutMs: options.stallTimeoutMs ?? 60_000,
    reset: (handle) => {
      resets.push(handle)
      const socket = sockets.get(handle)
      // While its FIN waits to leave, Node can reset nothing, and the socket would never close.
      if (socket?.writableEnded !== true || socket.writableFinished) socket?.resetAndDestroy()
    },
  })

  const accept = (alpnProtocol: string) => (socket: Socket) => {
    const handle = sockets.size + 1
    sockets.set(handle, socket)
    front.accept(socket, {
      handle,
      listenerId: 1,
      serverName: 'example.com',
      alpnProtocol,
      tlsVersion: 'TLSv1.3',
      cipher: 'TLS_AES_128_GCM_SHA256',
      resumed: false,
      peer: options.peer ?? PEER,
      peerPort: 50_000,
      localAddress: '127.0.0.1',
      localPort: 443,
    })
  }
  const http1 = await listen(createServer({ allowHalfOpen: true, noDelay: true }, accept('http/1.1')))
  const http2 = await listen(createServer({ allowHalfOpen: true, noDelay: true }, accept('h2')))
  return {
    front,
    metrics,
    http1Port: port(http1),
    http2Port: port(http2),
    lines,
    resets,
    sockets,
    async [Symbol.asyncDispose]() {
      http1.close()
      http2.close()
      await front.destroy()
    },
  }
}

export async function listen<S extends Server>(server: S, at = 0): Promise<S> {
  await new Promise<void>((resolve) => server.listen(at, '127.0.0.1', resolve))
  return server
}

export function port(server: Server): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server does not listen')
  return address.port
}

/** A port on which nobody listens. */
export function closedPort(): Promise<number> {
  return freePort()
}

export function upstreamOptions(
  name: string,
  ports: readonly number[],
  overrides?: Partial<UpstreamOptions>,
): UpstreamOptions {
  return {
    name,
    servers: ports.map((serverPort) => ({ scheme: 'http', host: '127.0.0.1', port: serverPort })),
    balance: 'round-robin',
    connectTimeoutMs: 1_000,
    responseTimeoutMs: 10_000,
    keepAliveMs: 5_000,
    connections: 64,
    idleTimeoutMs: 60_000,
    proxyHeader: undefined,
    ...overrides,
  }
}

function collector(lines: AccessLine[]): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      for (const line of chunk.toString().split('\n')) if (line !== '') lines.push(JSON.parse(line))
      done()
    },
  })
}
