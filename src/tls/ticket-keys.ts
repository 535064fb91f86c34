/**
 * The keys that encrypt session tickets: a new one on schedule, two previous ones still open old tickets.
 *
 * A ticket key opens every session whose ticket it made: it lives in memory only, and not for long.
 */

import { randomBytes } from 'node:crypto'

export interface TicketKeysOptions {
  readonly rotationMs: number
  /** Gets all keys, newest first, at the start and after each rotation; must copy them. */
  readonly apply: (keys: readonly Uint8Array[]) => void
}

export class TicketKeys {
  readonly #options: TicketKeysOptions
  readonly #timer: NodeJS.Timeout
  #keys: Buffer[] = []

  constructor(options: TicketKeysOptions) {
    this.#options = options
    this.rotate()
    this.#timer = setInterval(() => this.rotate(), options.rotationMs)
    this.#timer.unref()
  }

  /** Makes a new key the first; forgets the oldest past the kept ones. */
  rotate(): void {
    this.#keys.unshift(randomBytes(KEY_BYTES))
    for (const old of this.#keys.splice(KEPT)) old.fill(0)
    this.#options.apply(this.#keys)
  }

  /** Idempotent. */
  close(): void {
    clearInterval(this.#timer)
    for (const key of this.#keys.splice(0)) key.fill(0)
  }
}

/** Name 16, HMAC-SHA256 key 32, AES-256 key 32. */
const KEY_BYTES = 80
/** The one in use and two previous. */
const KEPT = 3
