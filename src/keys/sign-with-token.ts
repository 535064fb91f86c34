/** One signature with a key of the token, verified before anybody gets it. Only in a job. */

import { writeEcdsaSignature } from '../hsm/host/ecdsa-signature.ts'
import { inputOf, mechanismOf } from '../hsm/host/operation.ts'
import { Problem } from '../hsm/host/problem.ts'
import { MECHANISMS, offeredSchemes } from '../hsm/mechanism.ts'
import { keyFacts } from '../hsm/public-key.ts'
import { testMessage } from '../hsm/test-message.ts'
import { isSignature } from '../hsm/verify-signature.ts'
import type { SignatureScheme } from '../signing.ts'
import type { JobToken } from '../token/job.ts'
import { keyNameText } from './key-facts.ts'
import type { FoundKey } from './token-key.ts'

/**
 * @param message unhashed.
 * @returns the wire form: ECDSA in DER.
 * @throws {Problem | Pkcs11Error} a signature that does not verify among them.
 */
export function signWithToken(
  token: JobToken,
  key: FoundKey & { readonly spki: Buffer },
  scheme: SignatureScheme,
  message: Uint8Array,
): Buffer {
  token.module.signInit(token.session, mechanismOf(scheme), key.handle)
  if (key.facts.attributes.alwaysAuthenticate === true) token.authenticate(token.session)
  const output = Buffer.alloc(MAX_SIGNATURE_BYTES)
  const raw = output.subarray(0, token.module.sign(token.session, inputOf(scheme, message), output))
  const signature = MECHANISMS[scheme.name].output === 'raw-rs' ? derOf(raw) : raw
  if (!isSignature(keyFacts(key.spki).publicKey, scheme, message, signature)) {
    throw new Problem(
      'ERR_HSM_BAD_SIGNATURE',
      `the key ${keyNameText(key.facts)} on token "${token.label}" signed, but its public key does not verify the signature`,
    )
  }
  return signature
}

/** A test signature in the shape of a handshake, with each scheme that TLS could ask for. @returns their names. */
export function proveKey(token: JobToken, found: FoundKey): readonly string[] {
  const key = withPublicHalf(token, found)
  const offered = offeredSchemes(keyFacts(key.spki), token.mechanisms)
  if (offered.length === 0) {
    throw new Problem(
      'ERR_HSM_MECHANISM',
      `token "${token.label}" has no mechanism to sign with a key of type ${found.facts.type}`,
    )
  }
  for (const scheme of offered) signWithToken(token, key, scheme, testMessage(scheme))
  return offered.map(({ name }) => name)
}

/** @throws {Problem} when the token keeps the public half to itself: then nobody can tell what was signed. */
export function withPublicHalf(token: JobToken, key: FoundKey): FoundKey & { readonly spki: Buffer } {
  const { spki, kind } = key.facts
  if (spki !== null) return { ...key, spki: Buffer.from(spki, 'base64') }
  throw new Problem(
    'ERR_HSM_KEY_NOT_FOUND',
    kind === 'secret'
      ? `the key ${keyNameText(key.facts)} on token "${token.label}" is a secret key: it signs nothing`
      : `token "${token.label}" does not show the public half of ${keyNameText(key.facts)}: is there a public key object with the same id?`,
  )
}

function derOf(raw: Buffer): Buffer {
  const der = Buffer.alloc(raw.length + 9)
  return der.subarray(0, writeEcdsaSignature(raw, der))
}

// RSA-4096 has 512.
const MAX_SIGNATURE_BYTES = 2048
