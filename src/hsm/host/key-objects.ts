/** Finds the configured keys on the token and makes sure that they are the certificates' keys. */

import { createPublicKey } from 'node:crypto'
import { returnValue } from '../ckr.ts'
import type { KeyPurpose } from '../key-use.ts'
import { keySchemes, MECHANISMS, offeredSchemes } from '../mechanism.ts'
import type { KeyMessage, KeyState } from '../messages.ts'
import { keyFacts } from '../public-key.ts'
import { CK, type Handle, Pkcs11Error, type Template } from './pkcs11.ts'
import { Problem, problemMessage } from './problem.ts'
import type { Token } from './token.ts'

export interface KeyObject {
  readonly handle: Handle
  readonly purpose: KeyPurpose
  /** CKA_ALWAYS_AUTHENTICATE: every signature needs a login of its own. */
  readonly alwaysAuthenticate: boolean
  readonly schemes: readonly number[]
  readonly compared: boolean
}

export interface OpenedKey {
  /** undefined: cannot be used, for the reason in `state`. */
  readonly key: KeyObject | undefined
  /** What the front process is told. */
  readonly state: KeyState
  /** It was not the key: the same call may succeed a moment later. */
  readonly hiccup: Pkcs11Error | undefined
}

/** Never throws: one key that cannot be used is no reason to do without the others. */
export function openKey(token: Token, wanted: KeyMessage): OpenedKey {
  try {
    const key = findKey(token, wanted)
    return { key, state: { schemes: key.schemes, compared: key.compared, problem: null }, hiccup: undefined }
  } catch (error) {
    return {
      key: undefined,
      state: { schemes: [], compared: false, problem: problemMessage(error) },
      hiccup:
        error instanceof Pkcs11Error && returnValue(error.rv).action !== 'fail-over' ? error : undefined,
    }
  }
}

/**
 * A key that signs TLS and checkpoints could be made to sign a log that nobody has kept.
 *
 * @throws {Problem} when two purposes have come to one object, whatever their URIs are.
 */
export function refuseSharedKeys(keys: readonly (KeyObject | undefined)[]): void {
  const purposes = new Map<string, KeyPurpose>()
  for (const key of keys) {
    if (key === undefined) continue
    const handle = key.handle.toString('hex')
    const other = purposes.get(handle) ?? key.purpose
    if (other !== key.purpose) {
      throw new Problem(
        'ERR_HSM_REFUSED',
        'a certificate and the checkpoints of the audit log have the same key: generate one of its own for the checkpoints',
        { final: true },
      )
    }
    purposes.set(handle, key.purpose)
  }
}

function findKey(token: Token, wanted: KeyMessage): KeyObject {
  const schemes = schemesOn(token, wanted)
  // Always by class and id or label: a token may hold thousands of objects, and listing them takes minutes.
  const handles = privateKeys(token, selector(wanted))
  if (handles.length === 0) {
    const hint = nearMiss(token, wanted) ?? 'is it there, and may this user see it?'
    throw new Problem(
      'ERR_HSM_KEY_NOT_FOUND',
      `no private key matches ${wanted.uri} on token "${token.label}"; ${hint}`,
    )
  }
  const candidates = handles.map((handle) => ({ handle, match: compare(token, wanted, handle) }))
  // Ids and labels need not be unique (a renewed key may share them): the public key decides.
  const chosen =
    candidates.find(({ match }) => match === 'same') ?? candidates.find(({ match }) => match === 'unknown')
  if (chosen === undefined) {
    throw new Problem(
      'ERR_HSM_KEY_MISMATCH',
      `the key ${wanted.uri} on token "${token.label}" is not the certificate's key: ` +
        'the certificate belongs to another key pair, or the URI names the wrong object',
    )
  }
  const always = token.module.attribute(token.session, chosen.handle, CK.CKA_ALWAYS_AUTHENTICATE)
  return {
    handle: chosen.handle,
    purpose: wanted.purpose,
    alwaysAuthenticate: always?.[0] === 1,
    schemes,
    compared: chosen.match === 'same',
  }
}

function schemesOn(token: Token, wanted: KeyMessage): readonly number[] {
  const facts = keyFacts(Buffer.from(wanted.spki, 'base64'))
  const offered = offeredSchemes(facts, token.mechanisms)
  if (offered.length === 0) {
    const needed = new Set(keySchemes(facts).map((scheme) => MECHANISMS[scheme.name].name))
    throw new Problem(
      'ERR_HSM_MECHANISM',
      `token "${token.label}" has none of the mechanisms that ${wanted.uri} needs (${[...needed].join(', ')})`,
    )
  }
  return offered.map((scheme) => scheme.codePoint)
}

function privateKeys(token: Token, selection: Template): readonly Handle[] {
  const template = [{ type: CK.CKA_CLASS, value: CK.CKO_PRIVATE_KEY }, ...selection]
  return token.module.findObjects(token.session, template, MAX_CANDIDATES)
}

/** A key that fits by label or by id, but not by both: some modules choose an id of their own for a key that is imported. */
function nearMiss(token: Token, wanted: KeyMessage): string | undefined {
  if (wanted.label === null || wanted.idHex === null) return undefined
  const read = (handle: Handle, type: number): Buffer | undefined =>
    token.module.attribute(token.session, handle, type)
  const cure = 'if it is the same key, name it so for this HSM in the "uris" of the key'
  const [byLabel] = privateKeys(token, selector({ ...wanted, idHex: null }))
  if (byLabel !== undefined) {
    const id = read(byLabel, CK.CKA_ID)?.toString('hex').replace(/../g, '%$&')
    return `one with this label has ${id === undefined ? 'no id' : `id=${id}`}: ${cure}`
  }
  const [byId] = privateKeys(token, selector({ ...wanted, label: null }))
  if (byId === undefined) return undefined
  const label = read(byId, CK.CKA_LABEL)?.toString('utf8')
  return `one with this id has ${label === undefined ? 'no label' : `object=${encodeURIComponent(label)}`}: ${cure}`
}

function selector(wanted: Pick<KeyMessage, 'label' | 'idHex'>): Template {
  return [
    ...(wanted.idHex === null ? [] : [{ type: CK.CKA_ID, value: Buffer.from(wanted.idHex, 'hex') }]),
    ...(wanted.label === null ? [] : [{ type: CK.CKA_LABEL, value: wanted.label }]),
  ]
}

/**
 * Compares what the token shows of the public key with the certificate: the type, then the modulus, which an RSA
 * private key object has too, or the point, which usually only the public key object has.
 *
 * @returns unknown when the token shows neither; then the test signature decides.
 */
function compare(token: Token, wanted: KeyMessage, handle: Handle): 'same' | 'other' | 'unknown' {
  const expected = publicNumber(Buffer.from(wanted.spki, 'base64'))
  const type = token.module.attribute(token.session, handle, CK.CKA_KEY_TYPE)
  if (type !== undefined && isRsa(type) !== (expected.attribute === CK.CKA_MODULUS)) return 'other'
  const shown =
    token.module.attribute(token.session, handle, expected.attribute) ??
    publicHalf(token, wanted, handle, expected.attribute)
  if (shown === undefined) return 'unknown'
  return isSameNumber(shown, expected.value) ? 'same' : 'other'
}

/** CKK_RSA is 0, whatever the size and byte order of a CK_ULONG. */
function isRsa(keyType: Buffer): boolean {
  return keyType.every((byte) => byte === 0)
}

/** The attribute of the public key object that belongs to this private key: the one with the same CKA_ID. */
function publicHalf(token: Token, wanted: KeyMessage, handle: Handle, type: number): Buffer | undefined {
  const id = token.module.attribute(token.session, handle, CK.CKA_ID)
  const selection = id === undefined ? selector(wanted) : [{ type: CK.CKA_ID, value: id }]
  const handles = token.module.findObjects(
    token.session,
    [{ type: CK.CKA_CLASS, value: CK.CKO_PUBLIC_KEY }, ...selection],
    MAX_CANDIDATES,
  )
  // Two public keys under one id say nothing about which of them is this private key's.
  const [only, ...others] = handles
  return only === undefined || others.length > 0
    ? undefined
    : token.module.attribute(token.session, only, type)
}

/** What must be equal for two public keys of one type and curve to be equal. */
function publicNumber(spki: Buffer): { attribute: number; value: Buffer } {
  const jwk = createPublicKey({ key: spki, format: 'der', type: 'spki' }).export({ format: 'jwk' })
  const decode = (field: string | undefined): Buffer => Buffer.from(field ?? '', 'base64url')
  if (jwk.kty === 'RSA') return { attribute: CK.CKA_MODULUS, value: decode(jwk.n) }
  const point =
    jwk.kty === 'EC' ? Buffer.concat([Buffer.from([4]), decode(jwk.x), decode(jwk.y)]) : decode(jwk.x)
  return { attribute: CK.CKA_EC_POINT, value: point }
}

/**
 * CKA_EC_POINT is a DER OCTET STRING around the point, or the bare point from modules that got it wrong, and a
 * modulus may have leading zeros: either way the expected bytes are at the end, after at most a short header.
 */
function isSameNumber(shown: Buffer, expected: Buffer): boolean {
  const headerBytes = shown.length - expected.length
  return headerBytes >= 0 && headerBytes <= MAX_HEADER_BYTES && shown.subarray(headerBytes).equals(expected)
}

// OCTET STRING with a two-byte length: 04 81 85 before a P-521 point.
const MAX_HEADER_BYTES = 3
const MAX_CANDIDATES = 16
