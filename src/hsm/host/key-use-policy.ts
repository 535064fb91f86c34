/**
 * What a key may be used for: TLS server handshakes, or checkpoints of the audit log; nothing else, and never both. The key
 * that wraps ticket keys is of another class, and wraps nothing else.
 *
 * Whoever takes over the front process can ask for signatures; this keeps them from being signatures on
 * anything of use elsewhere (code, documents, certificates, a client's CertificateVerify).
 */

import type { SignatureScheme } from '../../signing.ts'
import type { KeyPurpose } from '../key-use.ts'

/** May a key of this purpose sign this message with this scheme? */
export function isPermitted(purpose: KeyPurpose, scheme: SignatureScheme, message: Uint8Array): boolean {
  return purpose === 'tls' ? isHandshakeMessage(scheme, message) : isCheckpoint(message)
}

/**
 * A checkpoint of the audit log, or the pool's test signature for such a key: text that begins with a line of its own.
 * No text is a handshake: a CertificateVerify begins with a blank, a ServerKeyExchange has a 3 at byte 64.
 */
export function isCheckpoint(message: Uint8Array): boolean {
  return message.length <= MAX_CHECKPOINT_BYTES && CHECKPOINT.test(Buffer.from(message).toString('latin1'))
}

/** The header of a set of ticket keys (tickets/sealed-set.ts), which wrapping binds in. */
export function isTicketHeader(header: Uint8Array): boolean {
  return (
    header.length <= MAX_TICKET_HEADER_BYTES &&
    Buffer.from(header).toString('latin1').startsWith(TICKET_HEADER_START) &&
    header[header.length - 1] === LINE_FEED
  )
}

/** One or more keys of RFC 5077 §4: name 16, HMAC key 32, AES key 32 bytes. */
export function areTicketKeys(bytes: Uint8Array): boolean {
  const count = bytes.length / TICKET_KEY_BYTES
  return Number.isInteger(count) && count >= 1 && count <= MAX_TICKET_KEYS
}

/** A TLS handshake message that this scheme may sign. */
export function isHandshakeMessage(scheme: SignatureScheme, message: Uint8Array): boolean {
  return (scheme.tls13 && isCertificateVerify(message)) || isServerKeyExchange(message)
}

/** RFC 8446 §4.4.3: 64 spaces, the server's context string, a zero byte, a SHA-256 or SHA-384 transcript hash. */
function isCertificateVerify(message: Uint8Array): boolean {
  const hashBytes = message.length - TLS13_PREFIX.length
  return (hashBytes === 32 || hashBytes === 48) && TLS13_PREFIX.compare(message, 0, TLS13_PREFIX.length) === 0
}

/** RFC 8422 §5.4: client random, server random, then a named curve and a point of that curve's size. */
function isServerKeyExchange(message: Uint8Array): boolean {
  if (message.length < RANDOMS_BYTES + 4 || message[RANDOMS_BYTES] !== NAMED_CURVE) return false
  const group = GROUPS.get(((message[RANDOMS_BYTES + 1] ?? 0) << 8) | (message[RANDOMS_BYTES + 2] ?? 0))
  if (group === undefined) return false
  return (
    message[RANDOMS_BYTES + 3] === group.pointBytes &&
    message.length === RANDOMS_BYTES + 4 + group.pointBytes &&
    (!group.uncompressed || message[RANDOMS_BYTES + 4] === UNCOMPRESSED_POINT)
  )
}

const TLS13_PREFIX = Buffer.concat([
  Buffer.alloc(64, 0x20),
  Buffer.from('TLS 1.3, server CertificateVerify\0', 'latin1'),
])
const CHECKPOINT =
  /^Sealgate audit checkpoint 1\n(?:record [1-9][0-9]{0,15}\nsha256 [0-9a-f]{64}\n|test signature\n)$/
const MAX_CHECKPOINT_BYTES = 256
const TICKET_HEADER_START = 'sealgate ticket keys 1\n'
const MAX_TICKET_HEADER_BYTES = 4096
const TICKET_KEY_BYTES = 80
const MAX_TICKET_KEYS = 8
const LINE_FEED = 0x0a
const RANDOMS_BYTES = 64
const NAMED_CURVE = 3
const UNCOMPRESSED_POINT = 4

// RFC 8422 §5.1.1 and §5.4.1; the groups of TLS 1.3 alone (X25519MLKEM768 and so on) never appear here.
const GROUPS: ReadonlyMap<number, { readonly pointBytes: number; readonly uncompressed: boolean }> = new Map([
  [23, { pointBytes: 65, uncompressed: true }], // secp256r1
  [24, { pointBytes: 97, uncompressed: true }], // secp384r1
  [25, { pointBytes: 133, uncompressed: true }], // secp521r1
  [29, { pointBytes: 32, uncompressed: false }], // x25519
  [30, { pointBytes: 56, uncompressed: false }], // x448
])
