/** Private keys: those of the configuration, or whatever a token shows; and what their attributes say. */

import { openKey } from '../../hsm/host/key-objects.ts'
import { CK, type Handle, Pkcs11Error } from '../../hsm/host/pkcs11.ts'
import type { Token } from '../../hsm/host/token.ts'
import type { KeyPurpose } from '../../hsm/key-use.ts'
import { offeredSchemes } from '../../hsm/mechanism.ts'
import type { KeyMessage } from '../../hsm/messages.ts'
import { keyFacts } from '../../hsm/public-key.ts'
import type { KeyFlag } from '../facts.ts'
import { readPublicKey } from './public-key.ts'
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
    const label = text(token, handle) || `private key ${index + 1}`
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
    const alwaysAuthenticate = flag(token, handle, CK.CKA_ALWAYS_AUTHENTICATE) === true
    return [{ name, handle, purpose: 'tls', schemes, alwaysAuthenticate }]
  } catch (error) {
    if (error instanceof TypeError) return [] // of no use in TLS: another curve
    throw error
  }
}

/** @returns DER SubjectPublicKeyInfo, as far as the token shows it. */
function tellKey(
  token: Token,
  handle: Handle,
  { name, compared }: { readonly name: string; readonly compared: boolean | null },
  tell: Teller,
): Buffer | undefined {
  const spki = readPublicKey(token, handle)
  tell.fact({
    fact: 'key',
    key: name,
    label: text(token, handle),
    idHex: token.module.attribute(token.session, handle, CK.CKA_ID)?.toString('hex') ?? '',
    spki: spki?.toString('base64') ?? null,
    compared,
    sign: flag(token, handle, CKA.SIGN),
    sensitive: flag(token, handle, CKA.SENSITIVE),
    alwaysSensitive: flag(token, handle, CKA.ALWAYS_SENSITIVE),
    extractable: flag(token, handle, CKA.EXTRACTABLE),
    neverExtractable: flag(token, handle, CKA.NEVER_EXTRACTABLE),
    alwaysAuthenticate: flag(token, handle, CK.CKA_ALWAYS_AUTHENTICATE),
    local: flag(token, handle, CKA.LOCAL),
    decrypt: flag(token, handle, CKA.DECRYPT),
    unwrap: flag(token, handle, CKA.UNWRAP),
  })
  return spki
}

/** @throws {Pkcs11Error} for all that says nothing about the attribute: an HSM that is gone, a session that is lost. */
function flag(token: Token, handle: Handle, type: number): KeyFlag {
  try {
    const value = token.module.readAttribute(token.session, handle, type)
    return value === undefined ? 'unknown' : value.some((byte) => byte !== 0)
  } catch (error) {
    if (error instanceof Pkcs11Error && NO_SUCH_ATTRIBUTE.has(error.rv)) return 'unknown'
    throw error
  }
}

function text(token: Token, handle: Handle): string {
  return token.module.attribute(token.session, handle, CK.CKA_LABEL)?.toString('utf8') ?? ''
}

const MAX_KEYS = 32
// PKCS#11 v3.1; the binding's names would bring all of it along.
const CKA = {
  SENSITIVE: 0x103,
  DECRYPT: 0x105,
  UNWRAP: 0x107,
  SIGN: 0x108,
  EXTRACTABLE: 0x162,
  LOCAL: 0x163,
  NEVER_EXTRACTABLE: 0x164,
  ALWAYS_SENSITIVE: 0x165,
} as const
/** CKR_ATTRIBUTE_SENSITIVE and CKR_ATTRIBUTE_TYPE_INVALID. */
const NO_SUCH_ATTRIBUTE: ReadonlySet<number> = new Set([0x11, 0x12])
