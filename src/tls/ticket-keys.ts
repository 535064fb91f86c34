/**
 * The keys that encrypt session tickets: a new one on schedule, two previous ones still open old tickets.
 *
 * A ticket key opens every session whose ticket it made: it lives in memory only, and not for long. Keys that a fleet
 * shares go before the node's own; when there are none, the node's own hold, and what others share still opens tickets.
 */

import { randomFillSync } from 'node:crypto'

export interface TicketKeysOptions {
  readonly rotationMs: number
  /** Gets all keys, the one that makes tickets first, at the start and after each change; must copy them. */
  readonly apply: (keys: readonly Uint8Array[]) => void
}

/** Whoever shares them zeroes them, after the next ones have been given. */
export interface SharedKeys {
  /** Makes tickets; undefined: the node's own does. */
  readonly first: Uint8Array | undefined
  readonly others: readonly Uint8Array[]
}

export class TicketKeys {
  readonly #options: TicketKeysOptions
  readonly #timer: NodeJS.Timeout
  #keys: Buffer[] = []
  #shared: SharedKeys = { first: undefined, others: [] }
  #sinceMs = 0
  #closed = false

  constructor(options: TicketKeysOptions) {
    this.#options = options
    this.rotate()
    this.#timer = setInterval(() => this.rotate(), options.rotationMs)
    this.#timer.unref()
  }

  /** Of the node's own keys: how many there are, and when (Unix time, ms) the first one was made and the next will be. */
  get own(): { readonly count: number; readonly sinceMs: number; readonly nextMs: number } {
    const { rotationMs } = this.#options
    return { count: this.#keys.length, sinceMs: this.#sinceMs, nextMs: this.#sinceMs + rotationMs }
  }

  /** Makes a new key of our own; forgets the oldest past the kept ones. */
  rotate(): void {
    if (this.#closed) return
    // Not from the pool that small buffers share: it is zeroed one day.
    this.#keys.unshift(randomFillSync(Buffer.allocUnsafeSlow(KEY_BYTES)))
    this.#sinceMs = Date.now()
    const forgotten = this.#keys.splice(KEPT)
    this.#apply()
    for (const old of forgotten) old.fill(0)
  }

  /** What a fleet shares now; takes the place of what it shared before. */
  share(shared: SharedKeys): void {
    if (this.#closed) return
    this.#shared = shared
    this.#apply()
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true
    clearInterval(this.#timer)
    this.#shared = { first: undefined, others: [] }
    for (const key of this.#keys.splice(0)) key.fill(0)
  }

  #apply(): void {
    const { first, others } = this.#shared
    this.#options.apply(first === undefined ? [...this.#keys, ...others] : [first, ...others, ...this.#keys])
  }
}

/** Name 16, HMAC-SHA256 key 32, AES-256 key 32. */
const KEY_BYTES = 80
/** The one in use and two previous. */
const KEPT = 3
