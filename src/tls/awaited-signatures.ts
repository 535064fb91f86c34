/**
 * Handshakes that wait for a signature, each with a way to say that nobody wants it any more: with a slow HSM the queue is
 * full of clients that have given up, and every signature for one of them is one that another waits for.
 */

import { Waiter } from '../signing.ts'

export class AwaitedSignatures {
  readonly #waiters = new Map<number, Waiter>()

  /** @returns who leaves when the handshake ends before `answered`. */
  await(handle: number): Waiter {
    const waiter = new Waiter()
    this.#waiters.set(handle, waiter)
    return waiter
  }

  answered(handle: number): void {
    this.#waiters.delete(handle)
  }

  /** The handshake has failed, for whatever reason, waiting or not. */
  ended(handle: number): void {
    this.#waiters.get(handle)?.leave()
    this.#waiters.delete(handle)
  }
}
