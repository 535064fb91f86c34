/** An HTTP server in a responder's place that answers as it is told, and remembers what it was asked. */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { freePort } from './free-port.ts'

export type Behaviour = (request: IncomingMessage, response: ServerResponse, body: Buffer) => void

export class OcspServer implements AsyncDisposable {
  readonly asked: { readonly method: string; readonly path: string; readonly body: Buffer }[] = []
  readonly #server = createServer((request, response) => void this.#serve(request, response))
  #behaviour: Behaviour = (_request, response) => response.writeHead(503).end()

  /** @param port where one of before was, to come back. */
  static async start(port?: number): Promise<OcspServer> {
    const server = new OcspServer()
    server.#server.listen(port ?? (await freePort()), '127.0.0.1')
    await once(server.#server, 'listening')
    return server
  }

  get port(): number {
    const address: AddressInfo | string | null = this.#server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  behave(behaviour: Behaviour): void {
    this.#behaviour = behaviour
  }

  /** With these bytes, now and made anew for each request. */
  answer(bytes: Uint8Array | (() => Uint8Array)): void {
    this.behave((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/ocsp-response' })
      response.end(typeof bytes === 'function' ? bytes() : bytes)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const body = Buffer.concat(chunks)
    this.asked.push({ method: request.method ?? '', path: request.url ?? '', body })
    this.#behaviour(request, response, body)
  }
}
