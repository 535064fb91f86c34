/**
 * One handshake with node:tls: full or resumed, timed, closed.
 *
 * The first one of a process verifies the certificate; the others only what the protocol itself verifies (the server's
 * signature, Finished). Chain and name would be checked in JavaScript, each time with the same result, and this
 * program is to spend as little as it can.
 */

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
  readonly #verified: ConnectionOptions
  readonly #quick: ConnectionOptions
  #session: Buffer | undefined
  #connections = 0

  constructor(order: ClientOrder) {
    this.#order = order
    const common: ConnectionOptions = {
      host: order.address,
      port: order.port,
      ALPNProtocols: order.alpn,
      ...(order.servername === null ? {} : { servername: order.servername }),
    }
    const { ca, insecure } = order
    const trusting = contextFor(order, [])
    const trusted = insecure ? trusting : contextFor(order, ca ?? undefined)
    this.#verified = { ...common, secureContext: trusted, rejectUnauthorized: !insecure }
    this.#quick = { ...common, secureContext: trusting, rejectUnauthorized: false }
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
      const options = waitForSession ? this.#verified : this.#quick
      const socket = connect({ ...options, ...this.#localAddress(), ...(session && { session }) })
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

/** @param ca PEM; empty: nobody is trusted, which is quick; undefined: the roots that Node has. */
function contextFor({ tls }: ClientOrder, ca: readonly string[] | undefined): SecureContext {
  const version = tls === '1.2' ? 'TLSv1.2' : 'TLSv1.3'
  return createSecureContext({ minVersion: version, maxVersion: version, ...(ca && { ca: [...ca] }) })
}

const TICKET_WAIT_MS = 1000
const LINGER_MS = 2000
