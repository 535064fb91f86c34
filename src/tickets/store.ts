/** Where the sealed set lies. It is ciphertext: the place needs no secrecy, only that not everybody can take it away. */

export interface Store {
  /** For people: a path, or the URL of a Redis with its key. */
  readonly name: string
  /** @returns undefined when there is none. @throws {TicketsError} `ERR_TICKETS_PLACE`, `ERR_TICKETS_MALFORMED` when too large. */
  read(): Promise<string | undefined>
  /**
   * Puts a set there if what is there is still `before`; of several nodes that do so at once, one succeeds.
   *
   * @param before undefined: nothing.
   * @returns false when somebody else was first.
   * @throws {TicketsError} `ERR_TICKETS_PLACE`; whether it was written is unknown then.
   */
  replace(before: string | undefined, after: string): Promise<boolean>
  /** May this node write? Others do it otherwise: a mounted Secret, a Redis user without rights. */
  isWritable(): Promise<boolean>
  /** Idempotent. */
  close(): Promise<void>
}
