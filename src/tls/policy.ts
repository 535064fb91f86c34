/** What the TLS side offers. OpenSSL's words; the order is the preference. */

import type { NativePolicy } from '../native/addon.ts'

/**
 * TLS 1.3, and TLS 1.2 with forward secrecy and AEAD only.
 *
 * - AES-128-GCM comes first: for a 128-bit elliptic curve handshake more buys nothing, and SHA-384's key schedule
 *   costs. A client that puts ChaCha20 first (no AES hardware) gets it.
 * - X25519 comes first: it is the fastest, and what clients send a key share for.
 * - One ticket a full handshake, as Go's crypto/tls: a client that opens several connections at once can use it
 *   for all of them, and a second one costs every handshake.
 */
export function tlsPolicy(options: { readonly ticketLifetimeMs: number }): NativePolicy {
  return {
    minVersion: 'TLSv1.2',
    ciphers: [
      'ECDHE-ECDSA-AES128-GCM-SHA256',
      'ECDHE-RSA-AES128-GCM-SHA256',
      'ECDHE-ECDSA-AES256-GCM-SHA384',
      'ECDHE-RSA-AES256-GCM-SHA384',
      'ECDHE-ECDSA-CHACHA20-POLY1305',
      'ECDHE-RSA-CHACHA20-POLY1305',
    ].join(':'),
    ciphersuites: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256',
    groups: 'X25519:P-256:P-384:P-521',
    tickets: 1,
    ticketLifetimeS: Math.min(Math.floor(options.ticketLifetimeMs / 1000), MAX_TICKET_LIFETIME_S),
  }
}

/** Seven days, RFC 8446 §4.6.1. */
const MAX_TICKET_LIFETIME_S = 7 * 24 * 3600
