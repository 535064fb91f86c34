/** What is known of a key object: made in the job, read by the command. */

import { z } from 'zod'

/** null: the token does not say. */
const flag = z.boolean().nullable()

export const keyFactsSchema = z.object({
  label: z.string(),
  /** Hex of CKA_ID. */
  id: z.string(),
  kind: z.enum(['private', 'secret']),
  /** As in KEY_TYPE_NAMES where it is one of those; else what can be said, e.g. `rsa-1024`, `ec`, `0x1f`. */
  type: z.string(),
  attributes: z.object({
    sensitive: flag,
    alwaysSensitive: flag,
    extractable: flag,
    neverExtractable: flag,
    local: flag,
    sign: flag,
    decrypt: flag,
    unwrap: flag,
    derive: flag,
    alwaysAuthenticate: flag,
  }),
  /** Base64 of DER SubjectPublicKeyInfo; null when the token does not show the public half. */
  spki: z.string().nullable(),
})
export type TokenKey = z.infer<typeof keyFactsSchema>

export const tokenFactsSchema = z.object({
  label: z.string(),
  serial: z.string(),
  manufacturer: z.string(),
  model: z.string(),
})
/** Two members with equal facts are two ways to one key store. */
export type TokenFacts = z.infer<typeof tokenFactsSchema>

/** Which key a command means. */
export const keyNameSchema = z.object({
  label: z.string().nullable(),
  /** Hex of CKA_ID. */
  id: z.string().nullable(),
  /** Base64 of DER SubjectPublicKeyInfo, to tell keys of one name apart. */
  spki: z.string().nullable(),
})
export type KeyName = z.infer<typeof keyNameSchema>

/** The name that means this key and no other. */
export function exactName({ label, id, spki }: Pick<TokenKey, 'label' | 'id' | 'spki'>): KeyName {
  return { label: label === '' ? null : label, id: id === '' ? null : id, spki }
}

/** @returns e.g. `"web-2026"`, `id 0a1b`, or both. */
export function keyNameText({ label, id }: Pick<KeyName, 'label' | 'id'>): string {
  const parts = [...(label === null ? [] : [JSON.stringify(label)]), ...(id === null ? [] : [`id ${id}`])]
  return parts.join(', ')
}

/** The URI for `key.uri` in a configuration (RFC 7512). */
export function keyUri({
  label,
  id,
  kind = 'private',
}: {
  readonly label: string
  readonly id: string
  readonly kind?: TokenKey['kind']
}): string {
  const idPart = id === '' ? '' : `;id=${id.replace(/../g, '%$&')}`
  const labelPart = label === '' ? '' : `object=${encodeURIComponent(label)}`
  return `pkcs11:${[labelPart, idPart.slice(1)].filter((part) => part !== '').join(';')};type=${kind === 'secret' ? 'secret-key' : 'private'}`
}
