/** How certificates and requests are signed: the AlgorithmIdentifier of each signature scheme, and which one a key takes. */

import { offeredSchemes } from '../../hsm/mechanism.ts'
import { keyFacts } from '../../hsm/public-key.ts'
import { type SignatureScheme, type SignatureSchemeName, schemes } from '../../signing.ts'
import { type Asn1, context, encode, integer, nothing, oid, sequence } from './der.ts'

/** AlgorithmIdentifier (RFC 5280 §4.1.1.2). */
export function signatureAlgorithm(scheme: SignatureScheme): Asn1 {
  return ALGORITHMS[scheme.name]()
}

/** @param algorithm DER of an AlgorithmIdentifier. @returns undefined for one that no scheme here has. */
export function schemeOfAlgorithm(algorithm: Uint8Array): SignatureScheme | undefined {
  return schemes.find((scheme) => encode(signatureAlgorithm(scheme)).equals(algorithm))
}

/**
 * The scheme that a key signs certificates with.
 *
 * @param spki DER SubjectPublicKeyInfo.
 * @param mechanisms of the token.
 * @returns undefined when the token has none that fits.
 */
export function certificateScheme(
  spki: Uint8Array,
  mechanisms: ReadonlySet<number>,
): SignatureScheme | undefined {
  const offered = offeredSchemes(keyFacts(spki), mechanisms)
  // PSS is newer than some CAs; where the token has nothing else, it is PSS.
  return offered.find(({ padding }) => padding === 'pkcs1') ?? offered[0]
}

const ALGORITHMS: Readonly<Record<SignatureSchemeName, () => Asn1>> = {
  // RFC 5758 §3.2, RFC 8410 §3: without parameters.
  ecdsa_sha224: () => sequence(oid('1.2.840.10045.4.3.1')),
  ecdsa_secp256r1_sha256: () => sequence(oid('1.2.840.10045.4.3.2')),
  ecdsa_secp384r1_sha384: () => sequence(oid('1.2.840.10045.4.3.3')),
  ecdsa_secp521r1_sha512: () => sequence(oid('1.2.840.10045.4.3.4')),
  ed25519: () => sequence(oid('1.3.101.112')),
  // RFC 4055 §5: parameters are NULL.
  rsa_pkcs1_sha256: () => sequence(oid('1.2.840.113549.1.1.11'), nothing()),
  rsa_pkcs1_sha384: () => sequence(oid('1.2.840.113549.1.1.12'), nothing()),
  rsa_pkcs1_sha512: () => sequence(oid('1.2.840.113549.1.1.13'), nothing()),
  rsa_pss_rsae_sha256: () => pss('2.16.840.1.101.3.4.2.1', 32),
  rsa_pss_rsae_sha384: () => pss('2.16.840.1.101.3.4.2.2', 48),
  rsa_pss_rsae_sha512: () => pss('2.16.840.1.101.3.4.2.3', 64),
}

/** RSASSA-PSS-params, RFC 4055 §3.1; the trailer has its default. */
function pss(hashOid: string, saltLength: number): Asn1 {
  const hash = (): Asn1 => sequence(oid(hashOid), nothing())
  return sequence(
    oid('1.2.840.113549.1.1.10'),
    sequence(
      context(0, hash()),
      context(1, sequence(oid('1.2.840.113549.1.1.8'), hash())),
      context(2, integer(Buffer.of(saltLength))),
    ),
  )
}
