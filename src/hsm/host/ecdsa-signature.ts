/** PKCS#11's form of an ECDSA signature, r‖s, into the one TLS uses. */

/**
 * Writes DER Ecdsa-Sig-Value (RFC 3279 §2.2.3): SEQUENCE of two INTEGERs, each with the fewest bytes that
 * keep it positive.
 *
 * @param raw r and s, each half of it, unsigned and big-endian (PKCS#11 v3.1, CKM_ECDSA).
 * @param out at least `raw.length + 9` bytes.
 * @returns the bytes written.
 */
export function writeEcdsaSignature(raw: Uint8Array, out: Buffer): number {
  const half = raw.length / 2
  const r = significant(raw, 0, half)
  const s = significant(raw, half, raw.length)
  const contentBytes = integerBytes(raw, r, half) + integerBytes(raw, s, raw.length)
  let at = out.writeUInt8(0x30, 0)
  // P-521 needs the long form of the length; 255 bytes are more than any curve here can have.
  if (contentBytes > 127) at = out.writeUInt8(0x81, at)
  at = out.writeUInt8(contentBytes, at)
  at = writeInteger(raw, r, half, out, at)
  return writeInteger(raw, s, raw.length, out, at)
}

/** r and s have the same number of bytes, at most P-521's 66. */
export function isRawEcdsaLength(bytes: number): boolean {
  return bytes > 0 && bytes % 2 === 0 && bytes <= 2 * 66
}

/** Index of the first byte that counts; the last one always does. */
function significant(raw: Uint8Array, from: number, to: number): number {
  let at = from
  while (at < to - 1 && raw[at] === 0) at++
  return at
}

/** A leading bit that is set would make the INTEGER negative. */
function needsZero(raw: Uint8Array, from: number): boolean {
  return ((raw[from] ?? 0) & 0x80) !== 0
}

function integerBytes(raw: Uint8Array, from: number, to: number): number {
  return 2 + (needsZero(raw, from) ? 1 : 0) + to - from
}

function writeInteger(raw: Uint8Array, from: number, to: number, out: Buffer, start: number): number {
  const zero = needsZero(raw, from)
  let at = out.writeUInt8(0x02, start)
  at = out.writeUInt8(to - from + (zero ? 1 : 0), at)
  if (zero) at = out.writeUInt8(0, at)
  out.set(raw.subarray(from, to), at)
  return at + to - from
}
