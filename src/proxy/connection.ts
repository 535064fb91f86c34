/** One plaintext connection of a client, as the HTTP side knows it. */

import type { Socket } from 'node:net'
import type { NativeEstablished } from '../native/addon.ts'
import type { Downstream } from './downstream.ts'
import type { Forwarding } from './forwarding.ts'

/** What TLS found out about a connection. `handle` names it towards the addon. */
export type ConnectionFacts = NativeEstablished

/** How a protocol takes leave of a connection. */
export interface Farewell {
  /** Tells the client that no more requests are wanted, where the protocol can. */
  announce(): void
  /** Called when no exchange is open: closes with all that was written delivered. */
  close(): void
}

export class Connection {
  readonly facts: ConnectionFacts
  readonly socket: Socket
  /** Of the listener's present settings. */
  forwarding: Forwarding
  readonly #reset: (handle: number) => void
  #farewell: Farewell | undefined
  #open = 0
  #latest: Downstream | undefined
  #state: 'serving' | 'draining' | 'closing' = 'serving'
  #cutOff = false

  /** @param options.reset makes TLS end the connection with a TCP reset. */
  constructor(options: {
    readonly socket: Socket
    readonly facts: ConnectionFacts
    readonly forwarding: Forwarding
    readonly reset: (handle: number) => void
  }) {
    this.socket = options.socket
    this.facts = options.facts
    this.forwarding = options.forwarding
    this.#reset = options.reset
  }

  set farewell(farewell: Farewell) {
    this.#farewell = farewell
  }

  /** Exchanges under way. */
  get open(): number {
    return this.#open
  }

  /** The next response should be the last (HTTP/1.x: `Connection: close`). */
  get isDraining(): boolean {
    return this.#state !== 'serving'
  }

  /** We have ended it, whatever was under way: nobody waits any longer. */
  get isCutOff(): boolean {
    return this.#cutOff
  }

  /** The exchange that began last; it may have ended. */
  get latest(): Downstream | undefined {
    return this.#latest
  }

  exchangeBegins(downstream: Downstream): void {
    this.#open += 1
    this.#latest = downstream
  }

  exchangeEnds(): void {
    this.#open -= 1
    if (this.#state === 'closing') this.closeWhenIdle()
  }

  drain(): void {
    if (this.#state !== 'serving') return
    this.#state = 'draining'
    this.#farewell?.announce()
  }

  /** At once, or after the last open exchange. */
  closeWhenIdle(): void {
    this.#state = 'closing'
    if (this.#open === 0) this.#farewell?.close()
  }

  /** Ends it so that the client cannot take what it got for the whole (RFC 9112 §8). Idempotent. */
  abort(): void {
    if (this.socket.destroyed) return
    this.#reset(this.facts.handle)
    this.socket.destroy()
  }

  /** As `abort()`, because the proxy stops. */
  cutOff(): void {
    this.#cutOff = true
    this.abort()
  }
}
