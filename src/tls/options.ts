/** What the TLS side needs to know; produced by config/, passed through by app.ts. All values are checked. */

import type { SignatureSchemeName } from '../signing.ts'

/**
 * What a handshake is offered; the order is the preference. The words are OpenSSL's, and config/ has asked OpenSSL
 * whether it knows them.
 */
export interface TlsPolicyOptions {
  readonly versions: readonly TlsVersion[]
  readonly tls12Suites: readonly string[]
  readonly tls13Suites: readonly string[]
  readonly groups: readonly string[]
  /** Of these, a certificate is offered with what its key can do. */
  readonly signatureSchemes: readonly SignatureSchemeName[]
  /** Sent after a full handshake; 0: no resumption. */
  readonly tickets: number
  /** undefined: as long as a ticket key is the first one. */
  readonly ticketLifetimeMs: number | undefined
}

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3'

export interface ListenerTlsOptions {
  readonly policy: TlsPolicyOptions
  /** A server name that no certificate has gets the first certificate, or the alert unrecognized_name. */
  readonly unknownServerName: 'default' | 'refuse'
}

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
  /** Replaces settings of the listener's policy; a named policy replaces all but the tickets'. */
  readonly policy?: Partial<TlsPolicyOptions>
}

/** Certificates that clients of one listener show. */
export interface ClientAuthenticationOptions {
  /** request: a client may have none; one that it shows must be good all the same. */
  readonly mode: 'request' | 'require'
  readonly files: TrustFiles
  /** What the files held when the configuration was loaded. */
  readonly trust: ClientTrust
  /** With revocation lists: every certificate but the anchor needs one, or only the leaf. */
  readonly checkRevocation: 'chain' | 'leaf'
  /** Intermediates between leaf and anchor at most. */
  readonly depth: number
  /** One that fits is enough; empty: every verified certificate. */
  readonly allow: readonly AllowRule[]
  /** Somebody is told the chain. */
  readonly keepChain: boolean
}

export interface AllowRule {
  readonly kind: 'dns' | 'uri' | 'spiffe' | 'email' | 'spki'
  readonly pattern: string
}

/** PEM files; absolute. */
export interface TrustFiles {
  readonly authorities: readonly string[]
  readonly revocationLists: readonly string[]
}

/** DER. */
export interface ClientTrust {
  readonly authorities: readonly Uint8Array[]
  readonly revocationLists: readonly Uint8Array[]
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
  /** Of one client: an IPv4 address or an IPv6 /64. */
  readonly connectionsPerAddress: number | undefined
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
