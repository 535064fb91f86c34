/** What keeps ticket keys from everybody without the HSM, as this folder sees it; hsm/ has one. */
export interface WrappingKey {
  readonly uri: string
  /** @param header bound in, not hidden. @param keys copied before the call returns. @throws {HsmError} */
  wrap(header: Uint8Array, keys: Uint8Array): Promise<Buffer>
  /** @returns a buffer of the caller's own, to be zeroed. @throws {HsmError} */
  unwrap(header: Uint8Array, wrapped: Uint8Array): Promise<Buffer>
}
