/**
 * What a TLS signature scheme is in PKCS#11: the HSM-side columns of the table in ../signing.ts.
 *
 * Only single-part mechanisms over locally computed digests: every HSM has them, CloudHSM has no others.
 */

import { type SignatureScheme, type SignatureSchemeName, schemes } from '../signing.ts'

export interface MechanismRow {
  /** CK_MECHANISM_TYPE. */
  readonly mechanism: number
  readonly name: string
  /** CK_RSA_PKCS_PSS_PARAMS without the salt length, which the scheme has. */
  readonly pss: { readonly hashAlg: number; readonly mgf: number } | undefined
  /** Bytes before the digest: DigestInfo for CKM_RSA_PKCS (RFC 8017 §9.2), else none. */
  readonly prefix: Uint8Array
  /** CKM_ECDSA gives r‖s; TLS wants DER. */
  readonly output: 'raw-rs' | 'as-is'
}

const NO_PREFIX = new Uint8Array(0)
const ECDSA: MechanismRow = {
  mechanism: 0x1041,
  name: 'CKM_ECDSA',
  pss: undefined,
  prefix: NO_PREFIX,
  output: 'raw-rs',
}

export const MECHANISMS: Readonly<Record<SignatureSchemeName, MechanismRow>> = {
  ecdsa_secp256r1_sha256: ECDSA,
  ecdsa_secp384r1_sha384: ECDSA,
  ecdsa_secp521r1_sha512: ECDSA,
  ed25519: { mechanism: 0x1057, name: 'CKM_EDDSA', pss: undefined, prefix: NO_PREFIX, output: 'as-is' },
  // CKM_SHA256/384/512 and CKG_MGF1_SHA256/384/512.
  rsa_pss_rsae_sha256: pss(0x250, 2),
  rsa_pss_rsae_sha384: pss(0x260, 3),
  rsa_pss_rsae_sha512: pss(0x270, 4),
  rsa_pkcs1_sha256: pkcs1('3031300d060960864801650304020105000420'),
  rsa_pkcs1_sha384: pkcs1('3041300d060960864801650304020205000430'),
  rsa_pkcs1_sha512: pkcs1('3051300d060960864801650304020305000440'),
  ecdsa_sha224: ECDSA,
}

/**
 * The schemes a key can be asked for on a token.
 *
 * @param key `curve` as in the seam's table; undefined unless the key is an EC key.
 * @param mechanisms what C_GetMechanismList says.
 */
export function offeredSchemes(
  key: Pick<SignatureScheme, 'keyType' | 'curve'>,
  mechanisms: ReadonlySet<number>,
): readonly SignatureScheme[] {
  return keySchemes(key).filter((scheme) => mechanisms.has(MECHANISMS[scheme.name].mechanism))
}

/** The schemes that fit a key, whatever a token can do, in the order of the seam's table. */
export function keySchemes(key: Pick<SignatureScheme, 'keyType' | 'curve'>): readonly SignatureScheme[] {
  return schemes.filter((scheme) => scheme.keyType === key.keyType && scheme.curve === key.curve)
}

/**
 * What an EC key signs with in TLS 1.2 besides: there no curve is tied to the hash (RFC 8446 §4.2.3), and some clients
 * have only the larger ones.
 */
export function tls12Schemes(key: Pick<SignatureScheme, 'keyType' | 'curve'>): readonly SignatureScheme[] {
  if (key.keyType !== 'ec') return []
  return schemes
    .filter(({ keyType, curve }) => keyType === 'ec' && curve !== key.curve)
    .map((scheme) => ({ ...scheme, tls13: false }))
}

function pss(hashAlg: number, mgf: number): MechanismRow {
  return {
    mechanism: 0x000d,
    name: 'CKM_RSA_PKCS_PSS',
    pss: { hashAlg, mgf },
    prefix: NO_PREFIX,
    output: 'as-is',
  }
}

function pkcs1(digestInfoHex: string): MechanismRow {
  return {
    mechanism: 0x0001,
    name: 'CKM_RSA_PKCS',
    pss: undefined,
    prefix: Buffer.from(digestInfoHex, 'hex'),
    output: 'as-is',
  }
}
