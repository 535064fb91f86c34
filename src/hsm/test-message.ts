/** The message a member signs to prove that it can, and that its key is the certificate's. */

import { hash } from 'node:crypto'

import type { SignatureScheme } from '../signing.ts'
import type { KeyPurpose } from './key-use.ts'

/**
 * A checkpoint's key gets a text that no checkpoint is. For TLS it has the shape of a handshake, since the host signs nothing else, and is of no use in one: it would need a
 * transcript with this hash or, for PKCS#1 v1.5, a client that picks this random and somebody who knows the
 * private half of a point that was made by hashing.
 */
export function testMessage(scheme: SignatureScheme, purpose: KeyPurpose = 'tls'): Uint8Array {
  if (purpose === 'audit-checkpoint') return CHECKPOINT_TEST
  return scheme.tls13 ? CERTIFICATE_VERIFY : SERVER_KEY_EXCHANGE
}

const fixed = (text: string): Buffer => hash('sha256', `sealgate test signature: ${text}`, 'buffer')

const CHECKPOINT_TEST = Buffer.from('Sealgate audit checkpoint 1\ntest signature\n')
const CERTIFICATE_VERIFY = Buffer.concat([
  Buffer.alloc(64, 0x20),
  Buffer.from('TLS 1.3, server CertificateVerify\0'),
  fixed('transcript'),
])
const SERVER_KEY_EXCHANGE = Buffer.concat([
  fixed('client random'),
  fixed('server random'),
  Buffer.from([3, 0, 29, 32]), // named_curve, x25519, 32 bytes
  fixed('point'),
])
