/** What the checkpoint key signs: that everything up to a record is as the chain has it. */

import type { Head } from './chain.ts'

/**
 * Text, so that `openssl dgst -verify` can be given it by hand. The first line is in no TLS handshake: the host signs
 * nothing else with this key (hsm/host/key-use-policy.ts), and nothing like it with any other.
 */
export function checkpointMessage({ seq, hash }: Head): Uint8Array {
  return Buffer.from(`Sealgate audit checkpoint 1\nrecord ${seq}\nsha256 ${hash}\n`, 'latin1')
}
