/** Servers behind the proxy: honest ones on node:http, broken ones on plain sockets. */

import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { createServer as createTcpServer, type Socket } from 'node:net'
import { listen, port } from './front-server.ts'

export interface TestUpstream extends AsyncDisposable {
  readonly port: number
  /** Requests that arrived, in order. */
  readonly requests: IncomingMessage[]
  readonly server: Server
}

export async function startUpstream(handler: RequestListener): Promise<TestUpstream> {
  const requests: IncomingMessage[] = []
  const server = createServer((request, response) => {
    requests.push(request)
    handler(request, response)
  })
  await listen(server)
  return {
    port: port(server),
    requests,
    server,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export interface RawUpstream extends AsyncDisposable {
  readonly port: number
  /** Everything that arrived, per connection. */
  readonly received: string[]
  readonly sockets: Socket[]
}

/** @param onRequest called whenever a connection has sent the end of a header section. */
export async function startRawUpstream(
  onRequest: (socket: Socket, connection: number) => void,
): Promise<RawUpstream> {
  const received: string[] = []
  const sockets: Socket[] = []
  const server = createTcpServer((socket) => {
    const connection = sockets.push(socket) - 1
    received[connection] = ''
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      received[connection] += chunk.toString('latin1')
      if (chunk.includes('\r\n\r\n')) onRequest(socket, connection)
    })
  })
  await listen(server)
  return {
    port: port(server),
    received,
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
