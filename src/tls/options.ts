/** What the TLS side needs to know; produced by config/, passed through by app.ts. All values are checked. */

export interface CertificateOptions {
  /** PEM file, leaf first; absolute. For messages. */
  readonly file: string
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[]
  /** DER SubjectPublicKeyInfo of the leaf. */
  readonly spki: Uint8Array
  /** Lower-case DNS names of the leaf: subjectAltName, wildcards included (`*.example.com`). */
  readonly names: readonly string[]
  readonly keyType: 'rsa' | 'ec' | 'ed25519'
  readonly notAfterMs: number
}

export interface TlsOptions {
  readonly handshakeTimeoutMs: number
  /** A new session-ticket key this often; two previous ones are still accepted. */
  readonly ticketRotationMs: number
  readonly limits: HandshakeLimitOptions
}

/** So many a second in the long run, at most `burst` at once. */
export interface Rate {
  readonly perSecond: number
  readonly burst: number
}

export interface HandshakeLimitOptions {
  readonly total: Rate | undefined
  readonly perAddress: Rate | undefined
  /** What becomes of a full handshake past a limit: it waits for its turn, or fails at once. */
  readonly exceeded: 'refuse' | 'wait'
}

/** Of one listener; undefined: none. */
export interface ConnectionLimits {
  readonly connections: number | undefined
  readonly handshakes: number | undefined
}

/** A range of addresses: 10.0.0.0/8. */
export interface Network {
  /** IP address; bits behind the prefix do not count. */
  readonly address: string
  readonly prefix: number
}

/** host is an IP address or a name to bind; `::` and `0.0.0.0` mean all. */
export interface ListenAddress {
  readonly host: string
  readonly port: number
}
