/** Reads key objects of a token. Only in a job. */

import { createPublicKey, type JsonWebKey } from 'node:crypto'

import { CK, type Handle, type Template } from '../hsm/host/pkcs11.ts'
import { Problem } from '../hsm/host/problem.ts'
import type { Token } from '../hsm/host/token.ts'
import { type KeyName, keyNameText, type TokenFacts, type TokenKey } from './key-facts.ts'
import { KEY_TYPES } from './key-types.ts'
import { contentOf } from './x509/der.ts'

export interface FoundKey {
  readonly handle: Handle
  readonly facts: TokenKey
}

/** Private keys, then secret ones, at most `max` of each. */
export function allKeys(
  token: Token,
  max: number,
): { readonly keys: readonly FoundKey[]; readonly more: boolean } {
  const found = [CK.CKO_PRIVATE_KEY, CK.CKO_SECRET_KEY].map((kind) =>
    token.module.findObjects(token.session, [{ type: CK.CKA_CLASS, value: kind }], max + 1),
  )
  return {
    keys: found.flatMap((handles) => handles.slice(0, max).map((handle) => readKey(token, handle))),
    more: found.some((handles) => handles.length > max),
  }
}

/** Private and secret keys with this name; more than one where names are not unique. */
export function keysNamed(token: Token, name: KeyName): readonly FoundKey[] {
  const read = (words: KeyName): FoundKey[] =>
    [CK.CKO_PRIVATE_KEY, CK.CKO_SECRET_KEY]
      .flatMap((kind) => objects(token, kind, words))
      .map((handle) => readKey(token, handle))
      .filter(({ facts }) => name.label === null || facts.label === name.label)
      .filter(({ facts }) => name.spki === null || facts.spki === null || facts.spki === name.spki)
  const found = read(name)
  // A label that is no UTF-8 is known as it is shown, and not as the token has it.
  return found.length > 0 || name.id === null || name.label === null ? found : read({ ...name, label: null })
}

/** @throws {Problem} when there is none, or more than one. */
export function theKeyNamed(token: Token, name: KeyName): FoundKey {
  const [found, ...more] = keysNamed(token, name)
  const text = keyNameText(name)
  if (found === undefined) {
    const others = allKeys(token, MAX_SHOWN).keys.map(({ facts }) => keyNameText(facts))
    const shown = others.length === 0 ? 'it holds no key at all' : `it holds: ${others.join('; ')}`
    throw new Problem('ERR_HSM_KEY_NOT_FOUND', `no key ${text} on token "${token.label}"; ${shown}`)
  }
  if (more.length > 0) {
    const all = [found, ...more].map(({ facts }) => keyNameText(facts)).join('; ')
    throw new Problem(
      'ERR_HSM_KEY_NOT_FOUND',
      `${more.length + 1} keys on token "${token.label}" are called ${text}: ${all}; give label and id`,
    )
  }
  return found
}

export function objects(
  token: Token,
  objectClass: number,
  name: Pick<KeyName, 'label' | 'id'>,
): readonly Handle[] {
  const template: Template = [
    { type: CK.CKA_CLASS, value: objectClass },
    ...(name.id === null ? [] : [{ type: CK.CKA_ID, value: Buffer.from(name.id, 'hex') }]),
    ...(name.label === null ? [] : [{ type: CK.CKA_LABEL, value: name.label }]),
  ]
  return token.module.findObjects(token.session, template, MAX_SAME_NAME)
}

export function readKey(token: Token, handle: Handle): FoundKey {
  const read = (type: number): Buffer | undefined => token.module.attribute(token.session, handle, type)
  const flag = (type: number): boolean | null => {
    const value = read(type)
    return value === undefined ? null : value[0] === 1
  }
  const isSecret = numberOf(read(CK.CKA_CLASS)) === CK.CKO_SECRET_KEY
  const id = read(CK.CKA_ID)?.toString('hex') ?? ''
  const spki = isSecret ? undefined : publicHalf(token, { read, id })
  return {
    handle,
    facts: {
      label: read(CK.CKA_LABEL)?.toString('utf8') ?? '',
      id,
      kind: isSecret ? 'secret' : 'private',
      type: typeName(read),
      attributes: {
        sensitive: flag(CK.CKA_SENSITIVE),
        alwaysSensitive: flag(CK.CKA_ALWAYS_SENSITIVE),
        extractable: flag(CK.CKA_EXTRACTABLE),
        neverExtractable: flag(CK.CKA_NEVER_EXTRACTABLE),
        local: flag(CK.CKA_LOCAL),
        sign: flag(CK.CKA_SIGN),
        decrypt: flag(CK.CKA_DECRYPT),
        unwrap: flag(CK.CKA_UNWRAP),
        derive: flag(CK.CKA_DERIVE),
        alwaysAuthenticate: flag(CK.CKA_ALWAYS_AUTHENTICATE),
      },
      spki: spki?.toString('base64') ?? null,
    },
  }
}

/** As they were when it was opened: whoever has made or destroyed a key does not ask the token for anything that could fail now. */
export function tokenFacts({ label, serial, manufacturer, model }: Token): TokenFacts {
  return { label, serial, manufacturer, model }
}

type Read = (type: number) => Buffer | undefined

function typeName(read: Read): string {
  const type = numberOf(read(CK.CKA_KEY_TYPE))
  switch (type) {
    case CKK_RSA:
      return `rsa-${bitsOf(read(CK.CKA_MODULUS)) || '?'}`
    case CKK_AES:
      return `aes-${8 * numberOf(read(CK.CKA_VALUE_LEN)) || '?'}`
    case CKK_EC:
    case CKK_EC_EDWARDS:
      return curveOf(read) ?? 'ec'
    default:
      return `0x${type.toString(16)}`
  }
}

function curveOf(read: Read): string | undefined {
  const parameters = read(CK.CKA_EC_PARAMS)
  if (parameters === undefined) return undefined
  return Object.entries(KEY_TYPES).find(
    ([, { size }]) => 'curves' in size && size.curves.some((curve) => curve.equals(parameters)),
  )?.[0]
}

/**
 * DER SubjectPublicKeyInfo of a private key: an RSA one mostly has its public numbers itself, an EC one needs the public
 * key object with the same id.
 */
function publicHalf(token: Token, key: { readonly read: Read; readonly id: string }): Buffer | undefined {
  const jwk = publicJwk(key.read)
  if (jwk !== undefined) return spkiOf(jwk)
  if (key.id === '') return undefined
  const found = objects(token, CK.CKO_PUBLIC_KEY, { label: null, id: key.id }).flatMap((handle) => {
    const jwk = publicJwk((type) => token.module.attribute(token.session, handle, type))
    return jwk === undefined ||
      typeName(key.read) !== typeName((type) => token.module.attribute(token.session, handle, type))
      ? []
      : [spkiOf(jwk)]
  })
  // Two public keys under one id say nothing about which of them is this private key's.
  return found.length === 1 ? found[0] : undefined
}

function publicJwk(read: Read): JsonWebKey | undefined {
  const base64url = (bytes: Buffer): string => bytes.toString('base64url')
  if (numberOf(read(CK.CKA_KEY_TYPE)) === CKK_RSA) {
    const [modulus, exponent] = [read(CK.CKA_MODULUS), read(CK.CKA_PUBLIC_EXPONENT)]
    if (modulus === undefined || exponent === undefined) return undefined
    return { kty: 'RSA', n: base64url(modulus), e: base64url(exponent) }
  }
  const point = pointOf(read(CK.CKA_EC_POINT))
  const curve = curveOf(read)
  if (point === undefined || curve === undefined) return undefined
  if (curve === 'ed25519') return { kty: 'OKP', crv: 'Ed25519', x: base64url(point) }
  const half = (point.length - 1) / 2
  const [x, y] = [base64url(point.subarray(1, 1 + half)), base64url(point.subarray(1 + half))]
  return { kty: 'EC', crv: curve.toUpperCase(), x, y }
}

/** An OCTET STRING around the point, or the bare point from modules that got it wrong. */
function pointOf(shown: Buffer | undefined): Buffer | undefined {
  if (shown === undefined || shown[0] !== 0x04) return shown
  try {
    const inner = contentOf(shown)
    const headerBytes = shown.length - inner.length
    return headerBytes <= MAX_POINT_HEADER_BYTES && (inner[0] === 0x04 || inner.length === 32) ? inner : shown
  } catch {
    return shown
  }
}

function spkiOf(jwk: JsonWebKey): Buffer {
  return createPublicKey({ key: jwk, format: 'jwk' }).export({ format: 'der', type: 'spki' })
}

function bitsOf(modulus: Buffer | undefined): number {
  const first = modulus?.findIndex((byte) => byte !== 0) ?? -1
  if (modulus === undefined || first < 0) return 0
  return 8 * (modulus.length - first) - Math.clz32(modulus[first] ?? 0) + 24
}

/** A CK_ULONG in the machine's own layout; all supported machines are little-endian. */
function numberOf(bytes: Buffer | undefined): number {
  return bytes === undefined || bytes.length === 0 ? 0 : bytes.readUIntLE(0, Math.min(bytes.length, 6))
}

const CKK_RSA = 0x00
const CKK_EC = 0x03
const CKK_AES = 0x1f
const CKK_EC_EDWARDS = 0x40
const MAX_SAME_NAME = 16
const MAX_SHOWN = 20
const MAX_POINT_HEADER_BYTES = 3
