/** The kinds of key that can be generated: one table of names, mechanisms and what the HSM is told. */

export const KEY_TYPE_NAMES = [
  'p-256',
  'p-384',
  'p-521',
  'rsa-2048',
  'rsa-3072',
  'rsa-4096',
  'ed25519',
  'aes-256',
] as const
export type KeyTypeName = (typeof KEY_TYPE_NAMES)[number]

export interface KeyTypeRow {
  /** CK_MECHANISM_TYPE of the mechanism that makes it (PKCS#11 v3.1). */
  readonly mechanism: number
  readonly mechanismName: string
  readonly size:
    | { readonly bits: number }
    /** DER for CKA_EC_PARAMS; the first one that the token takes. */
    | { readonly curves: readonly Buffer[] }
    | { readonly bytes: number }
}

export const KEY_TYPES: Readonly<Record<KeyTypeName, KeyTypeRow>> = {
  'p-256': ec('06082a8648ce3d030107'),
  'p-384': ec('06052b81040022'),
  'p-521': ec('06052b81040023'),
  'rsa-2048': rsa(2048),
  'rsa-3072': rsa(3072),
  'rsa-4096': rsa(4096),
  ed25519: {
    mechanism: 0x1055,
    mechanismName: 'CKM_EC_EDWARDS_KEY_PAIR_GEN',
    // The OID of RFC 8410, and the name that PKCS#11 v3.0 began with.
    size: {
      curves: [
        Buffer.from('06032b6570', 'hex'),
        Buffer.concat([Buffer.of(0x13, 12), Buffer.from('edwards25519')]),
      ],
    },
  },
  'aes-256': { mechanism: 0x1080, mechanismName: 'CKM_AES_KEY_GEN', size: { bytes: 32 } },
}

function rsa(bits: number): KeyTypeRow {
  return { mechanism: 0x0000, mechanismName: 'CKM_RSA_PKCS_KEY_PAIR_GEN', size: { bits } }
}

function ec(oidHex: string): KeyTypeRow {
  return {
    mechanism: 0x1040,
    mechanismName: 'CKM_EC_KEY_PAIR_GEN',
    size: { curves: [Buffer.from(oidHex, 'hex')] },
  }
}
