/**
 * Checkpoints of the audit log are signed forwards only, in the life of a host.
 *
 * Whoever takes over the front process may have any head signed from then on. With a signature over an older one, a
 * log that was cut off there would look as if it had ended so: that he does not get from a host that has gone further.
 *
 * Pure. The front process signs one at a time and never goes back; the same one again is a retry.
 */
export class CheckpointOrder {
  #last: { readonly record: bigint; readonly message: string } | undefined

  /** @param message of the checkpoint key. @returns false for one that must not be signed any more; true counts as signed. */
  admits(message: Uint8Array): boolean {
    const text = Buffer.from(message).toString('latin1')
    const digits = /^record (\d+)$/m.exec(text)?.[1]
    // The pool's test signature says nothing of the log.
    if (digits === undefined) return true
    const record = BigInt(digits)
    if (this.#last !== undefined && record <= this.#last.record) return text === this.#last.message
    this.#last = { record, message: text }
    return true
  }
}
