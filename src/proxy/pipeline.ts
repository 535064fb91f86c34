/**
 * What the client of one HTTP/1.1 connection has sent ahead.
 *
 * node:http hands over every request that it has parsed and only keeps the answers in order. Served at once, they would
 * run side by side, which RFC 9112 §9.3.2 forbids for unsafe methods, and each would hold a connection to an upstream
 * while its answer waits for its turn. So one is served at a time, in order, and the others wait here: they cost what
 * node:http has made of them, and nothing more when the client leaves.
 */

import type { IncomingMessage } from 'node:http'
import type { RequestError } from '../errors.ts'
import type { Connection } from './connection.ts'

/** Requests that may wait before the client's bytes stay where they are; what had been read by then waits as well. */
const READ_AHEAD = 16

/** The request whose turn it is. */
export interface Served {
  /** Its body has arrived to the end. */
  readonly received: boolean
  /** Nothing is missing of the answer, as far as we are concerned. */
  readonly answered: boolean
  /** The socket has closed. Idempotent. */
  closed(): void
  /** What comes of its body makes no sense, and nothing more is read. */
  broken(failure: RequestError): void
}

export class Pipeline {
  readonly connection: Connection
  readonly #waiting: Turn[] = []
  #served: Served | undefined
  #refused = false

  constructor(connection: Connection) {
    this.connection = connection
    const { socket } = connection
    // node:http resumes the socket for reasons of its own: a body is read, an answer has left.
    socket.on('resume', () => {
      if (this.holdsBack) socket.pause()
    })
    // A client that has stopped sending has left, as nginx and Envoy see it too. node:http ends the connection then, and in the middle
    // of an answer that would pass for its end.
    socket.once('end', () => {
      if (this.#served?.answered === false) connection.abort()
    })
    // Node tells a response of this only when the socket is its own.
    socket.once('close', () => {
      this.#waiting.length = 0
      this.#served?.closed()
    })
  }

  /** Nothing is read from the client at present, and that is our doing. */
  get holdsBack(): boolean {
    return this.#refused || this.#waiting.length >= READ_AHEAD
  }

  /** Another request is being served; the next one has to wait(). */
  get isBusy(): boolean {
    return this.connection.open > 0
  }

  /** After this nothing that the client sends is looked at. */
  get isRefused(): boolean {
    return this.#refused
  }

  /** What the client sends now is the body of the request that is served. */
  get receivesBody(): boolean {
    return this.#waiting.length === 0 && this.#served?.received === false
  }

  serves(request: Served): void {
    this.#served = request
  }

  /** @param begin called when it is the request's turn; never, when the connection ends before. */
  wait(request: IncomingMessage, begin: () => void): void {
    this.#push({ request, begin })
  }

  /** @param begin answers what cannot be read any further; called when all before it have their answers. */
  refuse(begin: () => void): void {
    this.#refused = true
    if (this.isBusy) this.#push({ request: undefined, begin })
    else begin()
  }

  /**
   * The client's bytes make no sense. If they were the body of a request that waits, it will not be served.
   * @param begin as for refuse(); not called when they were the body of the request that is served: that one is told.
   */
  breakOff(failure: RequestError, begin: () => void): void {
    if (this.receivesBody) {
      this.#refused = true
      this.connection.socket.pause()
      this.#served?.broken(failure)
      return
    }
    if (this.#waiting.at(-1)?.request?.complete === false) this.#waiting.pop()
    this.refuse(begin)
  }

  /** The request that was served has its answer. */
  next(): void {
    const heldBack = this.holdsBack
    const turn = this.#waiting.shift()
    if (turn === undefined) return
    const { socket } = this.connection
    if (!socket.writable) {
      // That answer was the last one, and said so.
      this.#waiting.length = 0
      return
    }
    turn.begin()
    if (heldBack && !this.holdsBack) socket.resume()
  }

  #push(turn: Turn): void {
    this.#waiting.push(turn)
    if (this.holdsBack) this.connection.socket.pause()
  }
}

interface Turn {
  /** undefined: a refusal. */
  readonly request: IncomingMessage | undefined
  readonly begin: () => void
}
