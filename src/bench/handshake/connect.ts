/** One handshake with node:tls: full or resumed, timed, closed. */

import {
  type ConnectionOptions,
  connect,
  createSecureContext,
  type SecureContext,
  type TLSSocket,
} from 'node:tls'

import type { ClientOrder } from './messages.ts'
import { isLoopback } from './target.ts'

export interface Handshake {
  /** `performance.now()` when both sides had finished. */
  readonly finishedAtMs: number
  readonly resumed: boolean
}

export class Connector {
  readonly #order: ClientOrder
  readonly #options: ConnectionOptions
  #session: Buffer | undefined
  #connections = 0

  constructor(order: ClientOrder) {
    this.#order = order
    const version = order.tls === '1.2' ? 'TLSv1.2' : 'TLSv1.3'
    const context: SecureContext = createSecureContext({
      minVersion: version,
      maxVersion: version,
      ...(order.ca === null ? {} : { ca: order.ca }),
    })
    this.#options = {
      host: order.address,
      port: order.port,
      secureContext: context,
      rejectUnauthorized: !order.insecure,
      ALPNProtocols: order.alpn,
      ...(order.servername === null ? {} : { servername: order.servername }),
    }
  }

  /** A ticket is here to resume with. */
  get hasSession(): boolean {
    return this.#session !== undefined
  }

  /** A full handshake that waits for the ticket. @throws {Error} when it fails. */
  async learnSession(): Promise<void> {
    await this.perform({ resume: false, waitForSession: true })
  }

  /**
   * @throws {Error} when the handshake fails or takes longer than the order allows.
   * Resolves when the handshake has finished; the connection is closed behind it.
   */
  perform({ resume, waitForSession }: { resume: boolean; waitForSession: boolean }): Promise<Handshake> {
    return new Promise((resolve, reject) => {
      const session = resume ? this.#session : undefined
      const socket = connect({ ...this.#options, ...this.#localAddress(), ...(session && { session }) })
      let finished: Handshake | undefined
      const timer = setTimeout(() => socket.destroy(new Error('ETIMEDOUT')), this.#order.timeoutMs)
      const settle = (): void => {
        clearTimeout(timer)
        if (finished === undefined) reject(new Error('ECONNRESET'))
        else resolve(finished)
      }
      socket.on('session', (ticket) => {
        this.#session = ticket
        if (waitForSession) this.#close(socket)
      })
      socket.once('secureConnect', () => {
        clearTimeout(timer)
        finished = { finishedAtMs: performance.now(), resumed: socket.isSessionReused() }
        if (waitForSession) setTimeout(() => this.#close(socket), TICKET_WAIT_MS).unref()
        else {
          resolve(finished)
          this.#close(socket)
        }
      })
      socket.on('error', (error) => {
        clearTimeout(timer)
        // After the handshake nobody is interested any more.
        if (finished === undefined) reject(error)
      })
      socket.once('close', settle)
      // What the server sends is read and forgotten: tickets, HTTP/2 settings.
      socket.resume()
    })
  }

  #close(socket: TLSSocket): void {
    if (this.#order.reset) socket.resetAndDestroy()
    else socket.end()
    // A server that does not close its side must not keep ours.
    setTimeout(() => socket.destroy(), LINGER_MS).unref()
  }

  /**
   * Each closed connection holds its port for a minute (TIME_WAIT), and one address has 28,000 of them. All of
   * 127.0.0.0/8 is this machine, so on loopback the connections come from many addresses.
   */
  #localAddress(): ConnectionOptions & { localAddress?: string } {
    if (!isLoopback(this.#order.address)) return {}
    const turn = this.#connections++ * this.#order.of + this.#order.process
    return { localAddress: `127.${1 + (turn % 250)}.${1 + (Math.floor(turn / 250) % 250)}.1` }
  }
}

const TICKET_WAIT_MS = 1000
const LINGER_MS = 2000
