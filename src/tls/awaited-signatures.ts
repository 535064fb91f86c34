/**
 * Handshakes that wait for a signature, each with a way to say that nobody wants it any more: with a slow HSM the queue is
 * full of clients that have given up, and every signature for one of them is one that another waits for.
 */

export class AwaitedSignatures {
  readonly #controllers = new Map<number, AbortController>()

  /** @returns aborted when the handshake ends before `answered`. */
  await(handle: number): AbortSignal {
    const controller = new AbortController()
    this.#controllers.set(handle, controller)
    return controller.signal
  }

  answered(handle: number): void {
    this.#controllers.delete(handle)
  }

  /** The handshake has failed, for whatever reason, waiting or not. */
  ended(handle: number): void {
    this.#controllers.get(handle)?.abort()
    this.#controllers.delete(handle)
  }
}
