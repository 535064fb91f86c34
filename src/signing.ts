/**
 * The seam between TLS and HSM: all that either side knows of the other.
 *
 * TLS suspends a handshake and asks a `SigningKey` for one signature; where the key lives, how many
 * devices hold it and how they are reached is the key's own business.
 */

export type KeyType = 'rsa' | 'ec' | 'ed25519'
export type HashName = 'sha224' | 'sha256' | 'sha384' | 'sha512'
export type Curve = 'P-256' | 'P-384' | 'P-521'
export type SignatureSchemeName = keyof typeof SIGNATURE_SCHEMES

/** Everything there is to know about one TLS SignatureScheme (RFC 8446 §4.2.3), or its like in TLS 1.2 (RFC 5246 §7.4.1.4.1). */
export interface SignatureScheme {
  readonly name: SignatureSchemeName
  /** IANA code point, as on the wire. */
  readonly codePoint: number
  readonly keyType: KeyType
  /** The curve TLS 1.3 ties to the scheme; undefined for RSA and Ed25519, and for ECDSA that is not in TLS 1.3. */
  readonly curve: Curve | undefined
  /** undefined: the algorithm hashes by itself (Ed25519). */
  readonly hash: HashName | undefined
  readonly padding: 'pss' | 'pkcs1' | undefined
  /** PSS salt length in bytes, always the hash length in TLS. */
  readonly saltLength: number | undefined
  /** PKCS#1 v1.5 and SHA-224 are for TLS 1.2 handshakes only (RFC 8446 §4.2.3). */
  readonly tls13: boolean
}

interface Row extends Omit<SignatureScheme, 'name'> {}

/** In the order in which we offer them. */
export const SIGNATURE_SCHEMES = {
  ecdsa_secp256r1_sha256: ecdsa(0x0403, 'P-256', 'sha256'),
  ecdsa_secp384r1_sha384: ecdsa(0x0503, 'P-384', 'sha384'),
  ecdsa_secp521r1_sha512: ecdsa(0x0603, 'P-521', 'sha512'),
  ed25519: {
    codePoint: 0x0807,
    keyType: 'ed25519',
    curve: undefined,
    hash: undefined,
    padding: undefined,
    saltLength: undefined,
    tls13: true,
  },
  rsa_pss_rsae_sha256: pss(0x0804, 'sha256', 32),
  rsa_pss_rsae_sha384: pss(0x0805, 'sha384', 48),
  rsa_pss_rsae_sha512: pss(0x0806, 'sha512', 64),
  rsa_pkcs1_sha256: pkcs1(0x0401, 'sha256'),
  rsa_pkcs1_sha384: pkcs1(0x0501, 'sha384'),
  rsa_pkcs1_sha512: pkcs1(0x0601, 'sha512'),
  // 112 bits, and last: for a client that has nothing better. IANA has no name for it.
  ecdsa_sha224: { ...ecdsa(0x0303, undefined, 'sha224'), tls13: false },
} as const satisfies Record<string, Row>

/** The schemes as a list, and by code point. */
export const schemes: readonly SignatureScheme[] = Object.entries(SIGNATURE_SCHEMES).map(([name, row]) => ({
  name: name as SignatureSchemeName,
  ...row,
}))
const byCodePoint = new Map(schemes.map((scheme) => [scheme.codePoint, scheme]))

export function schemeByCodePoint(codePoint: number): SignatureScheme | undefined {
  return byCodePoint.get(codePoint)
}

export interface SignRequest {
  readonly scheme: SignatureScheme
  /**
   * The message *unhashed*: in TLS 1.3, 130 bytes (SHA-256 transcript) or 146 (SHA-384), with the 64 spaces
   * and the context string (RFC 8446 §4.4.3); in TLS 1.2, client random, server random and ECDHE parameters
   * (RFC 8422 §5.4). The signer hashes. Owned by the request: nobody changes it later.
   */
  readonly message: Uint8Array
  /** `performance.now()` value after which the answer is of no use. */
  readonly deadlineMs: number
  readonly connection: ConnectionFacts
  /** Who may leave before the answer comes. What no HSM was asked for yet, none is then. */
  readonly waiter?: Waiter
}

/**
 * Whoever waits for one signature. What an AbortSignal does, for one listener: with that, a handshake costs 5 µs more (Node 20), which
 * is a tenth of what the main thread does for it.
 */
export class Waiter {
  #left = false
  #onLeave: (() => void) | undefined

  get hasLeft(): boolean {
    return this.#left
  }

  /** Called once, should the waiter leave from now on; undefined: nobody is told. Replaces the listener before. */
  set onLeave(listener: (() => void) | undefined) {
    this.#onLeave = listener
  }

  /** Idempotent. */
  leave(): void {
    if (this.#left) return
    this.#left = true
    this.#onLeave?.()
  }
}

/** Who asked: what the audit record needs. */
export interface ConnectionFacts {
  /** Unique within this process. */
  readonly id: number
  /** From the ClientHello (RFC 6066 §3); undefined when the client sent none. */
  readonly serverName: string | undefined
  /** Address of the peer without the port. */
  readonly peer: string
}

/** A private key that stays where it is; it can only be asked to sign. */
export interface SigningKey {
  /** DER SubjectPublicKeyInfo (RFC 5280 §4.1.2.7). */
  readonly spki: Uint8Array
  /** What the key can do, in the order in which we offer it. */
  readonly schemes: readonly SignatureScheme[]
  /**
   * Signs one handshake message.
   *
   * @returns the wire form. RSA: modulus-length bytes, PSS with salt length = hash length. ECDSA: DER
   *   Ecdsa-Sig-Value (RFC 3279 §2.2.3), not PKCS#11's raw r‖s. Ed25519: 64 bytes.
   * @throws {HsmError} `ERR_HSM_SIGN_TIMEOUT` when the deadline passes, queueing included;
   *   `ERR_HSM_SESSIONS_EXHAUSTED` when the queue is full; `ERR_HSM_ALL_FAILED` with every attempt in `errors`;
   *   `ERR_HSM_SIGN_ABANDONED` when the waiter has left and no HSM is asked. One that is may still answer.
   * Safe to call concurrently. Settles exactly once, at the latest at the deadline.
   */
  sign(request: SignRequest): Promise<Uint8Array>
}

function ecdsa(codePoint: number, curve: Curve | undefined, hash: HashName): Row {
  return { codePoint, keyType: 'ec', curve, hash, padding: undefined, saltLength: undefined, tls13: true }
}

function pss(codePoint: number, hash: HashName, saltLength: number): Row {
  return { codePoint, keyType: 'rsa', curve: undefined, hash, padding: 'pss', saltLength, tls13: true }
}

function pkcs1(codePoint: number, hash: HashName): Row {
  return {
    codePoint,
    keyType: 'rsa',
    curve: undefined,
    hash,
    padding: 'pkcs1',
    saltLength: undefined,
    tls13: false,
  }
}
