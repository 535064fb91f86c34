/** Cuts the byte stream between front process and hsm host into frames, and refuses everything else. */

import { FRAME, type FrameType, HEADER_BYTES, MAX_PAYLOAD_BYTES, MIN_PAYLOAD_BYTES } from './frames.ts'

/** The other side does not speak the protocol. There is no way back into step: the connection has to end. */
export class FrameError extends Error {
  override readonly name = 'FrameError'
}

/** @param payload valid only during the call: it is a view of the bytes just read. */
export type FrameHandler = (type: FrameType, payload: Buffer) => void

/**
 * Fed with chunks as they arrive, calls the handler for each complete frame.
 *
 * Holds back at most one incomplete frame, whose size the header bounds before its payload has arrived; so
 * memory is bounded by the largest frame that `accepts` allows, whatever the other side sends.
 */
export class FrameReader {
  readonly #accepts: ReadonlySet<number>
  readonly #handler: FrameHandler
  #rest: Buffer | undefined

  /** @param accepts the types this side expects; any other one is a FrameError. */
  constructor(accepts: readonly FrameType[], handler: FrameHandler) {
    this.#accepts = new Set(accepts)
    this.#handler = handler
  }

  /** @throws {FrameError} on an unexpected type or a length outside that type's bounds. */
  push(chunk: Buffer): void {
    const data = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk])
    this.#rest = undefined
    let at = 0
    while (data.length - at >= HEADER_BYTES) {
      const end = at + 4 + data.readUInt32BE(at)
      const type = this.#check(data.readUInt8(at + 4), end - at - HEADER_BYTES)
      if (end > data.length) break
      this.#handler(type, data.subarray(at + HEADER_BYTES, end))
      at = end
    }
    // A copy, so that a few held-back bytes do not keep the whole chunk alive.
    if (at < data.length) this.#rest = Buffer.from(data.subarray(at))
  }

  #check(type: number, payloadBytes: number): FrameType {
    if (!isFrameType(type) || !this.#accepts.has(type)) throw new FrameError(`unexpected frame type ${type}`)
    if (payloadBytes < MIN_PAYLOAD_BYTES[type] || payloadBytes > MAX_PAYLOAD_BYTES[type]) {
      throw new FrameError(`frame type ${type} with ${payloadBytes} bytes of payload`)
    }
    return type
  }
}

const frameTypes: ReadonlySet<number> = new Set(Object.values(FRAME))

function isFrameType(value: number): value is FrameType {
  return frameTypes.has(value)
}
