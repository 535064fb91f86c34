/** Private keys: those of the configuration, or whatever a token shows; and what their attributes say. */

import { openKey } from '../../hsm/host/key-objects.ts'
import { CK, type Handle } from '../../hsm/host/pkcs11.ts'
import type { Token } from '../../hsm/host/token.ts'
import type { KeyPurpose } from '../../hsm/key-use.ts'
import { offeredSchemes } from '../../hsm/mechanism.ts'
import type { KeyMessage } from '../../hsm/messages.ts'
import { keyFacts } from '../../hsm/public-key.ts'
import { readKey } from '../../keys/token-key.ts'
import type { KeyFlag } from '../facts.ts'
import type { Teller } from './teller.ts'

/** One that can be tried out. */
export interface ProbedKey {
  /** As it is called in the facts. */
  readonly name: string
  readonly handle: Handle
  readonly purpose: KeyPurpose
  /** Code points that key and token allow. */
  readonly schemes: readonly number[]
  readonly alwaysAuthenticate: boolean
}

/** Finds them as a host does, and says of those that it could not use why not. */
export function probeConfiguredKeys(
  token: Token,
  wanted: readonly KeyMessage[],
  tell: Teller,
): readonly ProbedKey[] {
  return wanted.flatMap((message): ProbedKey[] => {
    const name = message.uri
    const { key, state } = tell.attempt(name, () => openKey(token, message)) ?? {}
    if (key === undefined) {
      const { code, message: text } = state?.problem ?? {
        code: 'ERR_HSM_FAILED',
        message: 'it cannot be used',
      }
      tell.fact({ fact: 'key-problem', key: name, code, message: text })
      return []
    }
    tell.attempt(name, () => tellKey(token, key.handle, { name, compared: key.compared }, tell))
    return [
      {
        name,
        handle: key.handle,
        purpose: key.purpose,
        schemes: key.schemes,
        alwaysAuthenticate: key.alwaysAuthenticate,
      },
    ]
  })
}

/** Private keys of a token that no configuration speaks of, up to `MAX_KEYS`: tokens may hold thousands. */
export function probeVisibleKeys(token: Token, tell: Teller): readonly ProbedKey[] {
  const handles =
    tell.attempt('private keys', () =>
      token.module.findObjects(
        token.session,
        [{ type: CK.CKA_CLASS, value: CK.CKO_PRIVATE_KEY }],
        MAX_KEYS + 1,
      ),
    ) ?? []
  const keys = handles.slice(0, MAX_KEYS).flatMap((handle, index): ProbedKey[] => {
    const shown = token.module.attribute(token.session, handle, CK.CKA_LABEL)?.toString('utf8')
    const label = shown ?? `private key ${index + 1}`
    return tell.attempt(label, () => probeVisibleKey(token, handle, label, tell)) ?? []
  })
  if (handles.length > MAX_KEYS) tell.fact({ fact: 'more-keys', looked: MAX_KEYS })
  return keys
}

function probeVisibleKey(token: Token, handle: Handle, name: string, tell: Teller): ProbedKey[] {
  const spki = tellKey(token, handle, { name, compared: null }, tell)
  if (spki === undefined) return []
  try {
    const schemes = offeredSchemes(keyFacts(spki), token.mechanisms).map(({ codePoint }) => codePoint)
    const { alwaysAuthenticate } = readKey(token, handle).facts.attributes
    return [{ name, handle, purpose: 'tls', schemes, alwaysAuthenticate: alwaysAuthenticate === true }]
  } catch (error) {
    if (error instanceof TypeError) return [] // of no use in TLS: another curve
    throw error
  }
}

/** @returns DER SubjectPublicKeyInfo, as far as the token shows it. @throws {Pkcs11Error} when it shows nothing at all. */
function tellKey(
  token: Token,
  handle: Handle,
  { name, compared }: { readonly name: string; readonly compared: boolean | null },
  tell: Teller,
): Buffer | undefined {
  // Every object has this one: an error says something about the HSM, and not about the attribute.
  token.module.readAttribute(token.session, handle, CK.CKA_CLASS)
  const { label, id, spki, attributes } = readKey(token, handle).facts
  const flag = (value: boolean | null): KeyFlag => value ?? 'unknown'
  tell.fact({
    fact: 'key',
    key: name,
    label,
    idHex: id,
    spki,
    compared,
    sign: flag(attributes.sign),
    sensitive: flag(attributes.sensitive),
    alwaysSensitive: flag(attributes.alwaysSensitive),
    extractable: flag(attributes.extractable),
    neverExtractable: flag(attributes.neverExtractable),
    alwaysAuthenticate: flag(attributes.alwaysAuthenticate),
    local: flag(attributes.local),
    decrypt: flag(attributes.decrypt),
    unwrap: flag(attributes.unwrap),
  })
  return spki === null ? undefined : Buffer.from(spki, 'base64')
}

const MAX_KEYS = 32
