/**
 * What travels between the front process and an hsm host, byte by byte.
 *
 *     frame   = length (u32: of type and payload)  type (u8)  payload
 *     sign    = request (u32)  key (u16)  scheme (u16: IANA code point)  message
 *     signed  = request (u32)  time in the HSM (u32, µs)  signature
 *     failed  = request (u32)  time in the HSM (u32, µs)  return value (u32)  call (u8)  reason (u8)
 *     sessions = open (u16)  limit (u16)
 *     wrap    = request (u32)  direction (u8)  header length (u16)  header  body
 *     wrapped = request (u32)  body
 *     not-wrapped = request (u32)  return value (u32)  call (u8)  reason (u8)
 *     configure, ready, recovering, problem = JSON, see messages.ts
 *
 * Big-endian. Signatures are binary because there are thousands a second of them; what is said once a life is JSON.
 */

export const FRAME = {
  configure: 1,
  ready: 2,
  problem: 3,
  sign: 4,
  signed: 5,
  failed: 6,
  sessions: 7,
  recovering: 8,
  wrap: 9,
  wrapped: 10,
  notWrapped: 11,
} as const
export type FrameType = (typeof FRAME)[keyof typeof FRAME]
type JsonFrame = (typeof FRAME)['configure' | 'ready' | 'recovering' | 'problem']

/**
 * Longest payload of each type. A key costs about 1 KB of JSON; a signed TLS message has at most 201 bytes; eight ticket
 * keys with their header have about 2 KB.
 */
export const MAX_PAYLOAD_BYTES: Readonly<Record<FrameType, number>> = {
  [FRAME.configure]: 8 * 1024 * 1024,
  [FRAME.ready]: 8 * 1024 * 1024,
  [FRAME.problem]: 64 * 1024,
  [FRAME.sign]: 8 + 512,
  [FRAME.signed]: 8 + 2048,
  [FRAME.failed]: 14,
  [FRAME.sessions]: 4,
  [FRAME.recovering]: 64 * 1024,
  [FRAME.wrap]: 7 + 8 * 1024,
  [FRAME.wrapped]: 4 + 2 * 1024,
  [FRAME.notWrapped]: 10,
}
/** Payloads shorter than this have no meaning. */
export const MIN_PAYLOAD_BYTES: Readonly<Record<FrameType, number>> = {
  [FRAME.configure]: 2,
  [FRAME.ready]: 2,
  [FRAME.problem]: 2,
  [FRAME.sign]: 9,
  [FRAME.signed]: 9,
  [FRAME.failed]: 14,
  [FRAME.sessions]: 4,
  [FRAME.recovering]: 2,
  [FRAME.wrap]: 9,
  [FRAME.wrapped]: 5,
  [FRAME.notWrapped]: 10,
}
export const HEADER_BYTES = 5

/** Why a sign request failed without a PKCS#11 call having failed; `call` means one did, and `rv` says how. */
export const FAILED_REASONS = [
  'call',
  'policy',
  'no-such-key',
  'busy',
  'bad-signature',
  'recovering',
] as const
export type FailedReason = (typeof FAILED_REASONS)[number]

/** The calls a `failed` frame can name. */
export const FAILED_CALLS = ['', 'C_SignInit', 'C_Sign', 'C_OpenSession', 'C_Login'] as const
export type FailedCall = (typeof FAILED_CALLS)[number]

/** The two directions of a `wrap` frame. */
export const WRAP_DIRECTIONS = ['wrap', 'unwrap'] as const
export type WrapDirection = (typeof WRAP_DIRECTIONS)[number]

/** Why ticket keys were not wrapped or unwrapped; `call` as above. */
export const WRAP_REASONS = [
  'call',
  'policy',
  'no-such-key',
  'recovering',
  'extractable',
  'no-mechanism',
  'not-reversible',
] as const
export type WrapReason = (typeof WRAP_REASONS)[number]

/** The calls a `not-wrapped` frame can name. */
export const WRAP_CALLS = ['', 'C_EncryptInit', 'C_Encrypt', 'C_DecryptInit', 'C_Decrypt'] as const
export type WrapCall = (typeof WRAP_CALLS)[number]

/** @throws {RangeError} when it is too long for a frame. */
export function jsonPayload(type: JsonFrame, message: object): Uint8Array {
  const payload = Buffer.from(JSON.stringify(message))
  const most = MAX_PAYLOAD_BYTES[type]
  if (payload.length > most)
    throw new RangeError(
      `a message of ${payload.length} bytes, and a frame of type ${type} has at most ${most}`,
    )
  return payload
}

const CHUNK_BYTES = 64 * 1024

/**
 * Collects the frames of one event-loop turn, so that they leave in one write.
 *
 * A chunk is filled front to back and never overwritten: what `take()` returned stays valid for as long as the
 * socket needs it, without a copy.
 */
export class FrameWriter {
  #chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  #start = 0
  #end = 0

  get empty(): boolean {
    return this.#start === this.#end
  }

  /** Everything written since the last call. */
  take(): Uint8Array {
    const taken = this.#chunk.subarray(this.#start, this.#end)
    this.#start = this.#end
    return taken
  }

  sign(request: number, key: number, codePoint: number, message: Uint8Array): void {
    let at = this.#open(FRAME.sign, 8 + message.length)
    const chunk = this.#chunk
    at = chunk.writeUInt32BE(request, at)
    at = chunk.writeUInt16BE(key, at)
    at = chunk.writeUInt16BE(codePoint, at)
    chunk.set(message, at)
  }

  signed(request: number, micros: number, signature: Uint8Array): void {
    let at = this.#open(FRAME.signed, 8 + signature.length)
    const chunk = this.#chunk
    at = chunk.writeUInt32BE(request, at)
    at = chunk.writeUInt32BE(boundedU32(micros), at)
    chunk.set(signature, at)
  }

  failed(
    request: number,
    facts: { micros: number; rv: number; call: FailedCall; reason: FailedReason },
  ): void {
    let at = this.#open(FRAME.failed, 14)
    const chunk = this.#chunk
    at = chunk.writeUInt32BE(request, at)
    at = chunk.writeUInt32BE(boundedU32(facts.micros), at)
    at = chunk.writeUInt32BE(boundedU32(facts.rv), at)
    at = chunk.writeUInt8(FAILED_CALLS.indexOf(facts.call), at)
    chunk.writeUInt8(FAILED_REASONS.indexOf(facts.reason), at)
  }

  sessions(open: number, limit: number): void {
    const at = this.#open(FRAME.sessions, 4)
    this.#chunk.writeUInt16BE(limit, this.#chunk.writeUInt16BE(open, at))
  }

  wrap(request: number, direction: WrapDirection, header: Uint8Array, body: Uint8Array): void {
    let at = this.#open(FRAME.wrap, 7 + header.length + body.length)
    const chunk = this.#chunk
    at = chunk.writeUInt32BE(request, at)
    at = chunk.writeUInt8(WRAP_DIRECTIONS.indexOf(direction), at)
    at = chunk.writeUInt16BE(header.length, at)
    chunk.set(header, at)
    chunk.set(body, at + header.length)
  }

  wrapped(request: number, body: Uint8Array): void {
    const at = this.#open(FRAME.wrapped, 4 + body.length)
    this.#chunk.set(body, this.#chunk.writeUInt32BE(request, at))
  }

  notWrapped(request: number, facts: { rv: number; call: WrapCall; reason: WrapReason }): void {
    let at = this.#open(FRAME.notWrapped, 10)
    const chunk = this.#chunk
    at = chunk.writeUInt32BE(request, at)
    at = chunk.writeUInt32BE(boundedU32(facts.rv), at)
    at = chunk.writeUInt8(WRAP_CALLS.indexOf(facts.call), at)
    chunk.writeUInt8(WRAP_REASONS.indexOf(facts.reason), at)
  }

  json(type: JsonFrame, message: object): void {
    this.prepared(type, jsonPayload(type, message))
  }

  /** @param payload from `jsonPayload`. */
  prepared(type: JsonFrame, payload: Uint8Array): void {
    this.#chunk.set(payload, this.#open(type, payload.length))
  }

  /** Writes a header and makes room; returns where the payload goes. */
  #open(type: FrameType, payloadBytes: number): number {
    if (payloadBytes > MAX_PAYLOAD_BYTES[type] || payloadBytes < MIN_PAYLOAD_BYTES[type]) {
      throw new RangeError(`a frame of type ${type} cannot have ${payloadBytes} bytes of payload`)
    }
    const total = HEADER_BYTES + payloadBytes
    if (this.#end + total > this.#chunk.length) this.#moveToNewChunk(total)
    const at = this.#chunk.writeUInt32BE(total - 4, this.#end)
    this.#chunk[at] = type
    this.#end += total
    return at + 1
  }

  #moveToNewChunk(needed: number): void {
    const pending = this.take()
    this.#chunk = Buffer.allocUnsafeSlow(Math.max(CHUNK_BYTES, 2 * (pending.length + needed)))
    this.#chunk.set(pending)
    this.#start = 0
    this.#end = pending.length
  }
}

function boundedU32(value: number): number {
  return Math.min(Math.max(Math.round(value), 0), 0xffffffff)
}
