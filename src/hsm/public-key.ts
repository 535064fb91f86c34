/** What a public key is, in the words of the seam's table. */

import { createPublicKey, type KeyObject } from 'node:crypto'

import type { Curve, KeyType } from '../signing.ts'

/** @param spki DER SubjectPublicKeyInfo. @throws {TypeError} for a key type that has no TLS signature scheme here. */
export function keyFacts(spki: Uint8Array): {
  readonly publicKey: KeyObject
  readonly keyType: KeyType
  readonly curve: Curve | undefined
} {
  const publicKey = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  const type = publicKey.asymmetricKeyType
  if (type === 'rsa' || type === 'ed25519') return { publicKey, keyType: type, curve: undefined }
  const curve = CURVES.get(publicKey.asymmetricKeyDetails?.namedCurve ?? '')
  if (type === 'ec' && curve !== undefined) return { publicKey, keyType: 'ec', curve }
  throw new TypeError(`no signature scheme for a key of type ${type ?? 'unknown'}`)
}

// OpenSSL's names.
const CURVES: ReadonlyMap<string, Curve> = new Map([
  ['prime256v1', 'P-256'],
  ['secp384r1', 'P-384'],
  ['secp521r1', 'P-521'],
])
