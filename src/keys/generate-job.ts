/** Generates one key in the token, makes sure that it is what was asked for, and has it sign once. */

import { z } from 'zod'
import { SealgateError } from '../errors.ts'
import { CKR } from '../hsm/ckr.ts'
import { CK, type Handle, Pkcs11Error, type Template } from '../hsm/host/pkcs11.ts'
import { Problem, problemMessage } from '../hsm/host/problem.ts'
import type { Token } from '../hsm/host/token.ts'
import type { JobToken, TokenJob } from '../token/job.ts'
import { keyNameText } from './key-facts.ts'
import { KEY_TYPE_NAMES, KEY_TYPES, type KeyTypeRow } from './key-types.ts'
import { proveKey } from './sign-with-token.ts'
import { type FoundKey, keysNamed, objects, readKey, tokenFacts } from './token-key.ts'

const generateArgs = z.object({
  type: z.enum(KEY_TYPE_NAMES),
  label: z.string(),
  /** Hex. */
  id: z.string(),
})
export type GenerateArgs = z.infer<typeof generateArgs>

export const job: TokenJob = {
  opens: 'logged-in',
  run(token, context) {
    const args = generateArgs.parse(context.args)
    refuseIfThere(token, args)
    const key = generate(token, args)
    return { token: tokenFacts(token), key: key.facts }
  },
}

/** A second key of the same name would make `key.uri` ambiguous for ever. */
function refuseIfThere(token: Token, { label, id }: GenerateArgs): void {
  for (const name of [
    { label, id: null },
    { label: null, id },
  ]) {
    const [there] = keysNamed(token, { ...name, spki: null })
    const named =
      there !== undefined
        ? keyNameText(there.facts)
        : objects(token, CK.CKO_PUBLIC_KEY, name).length > 0
          ? `${keyNameText(name)} (a public key)`
          : undefined
    if (named === undefined) continue
    throw new SealgateError(
      'ERR_KEYS_EXISTS',
      `token "${token.label}" has a key ${named} already: choose another ${name.id === null ? '--label' : '--id'}`,
    )
  }
}

function generate(token: JobToken, args: GenerateArgs): FoundKey {
  const row = KEY_TYPES[args.type]
  if (!token.mechanisms.has(row.mechanism)) {
    const able = KEY_TYPE_NAMES.filter((name) => token.mechanisms.has(KEY_TYPES[name].mechanism))
    throw new Problem(
      'ERR_HSM_MECHANISM',
      `token "${token.label}" cannot make a key of type ${args.type} (${row.mechanismName}); it can make: ${able.join(', ') || 'none'}`,
    )
  }
  const made = 'bytes' in row.size ? secretKey(token, args, row.size.bytes) : keyPair(token, args, row)
  try {
    const key = readKey(token, made[0])
    refuseIfWeak(key)
    if (key.facts.kind === 'private') proveKey(token, key)
    return key
  } catch (error) {
    throw withoutTrace(token, made, args, error)
  }
}

/** @returns what to throw: the reason, and what is left of the key if it cannot be destroyed again. */
function withoutTrace(
  token: Token,
  made: readonly Handle[],
  { label, id }: GenerateArgs,
  reason: unknown,
): unknown {
  const failures = made.flatMap((handle) => {
    try {
      token.module.destroyObject(token.session, handle)
      return []
    } catch (error) {
      if (!(error instanceof Pkcs11Error)) throw error
      return error.rv === CKR.OBJECT_HANDLE_INVALID ? [] : [error]
    }
  })
  const [failure] = failures
  if (failure === undefined) return reason
  const { code, message } = problemMessage(reason)
  const left = `${message}; the key ${keyNameText({ label, id })} is still in the token: ${failure.message}`
  return reason instanceof SealgateError
    ? new SealgateError(reason.code, left, { cause: reason })
    : new Problem(code, left, { cause: reason })
}

function keyPair(
  token: Token,
  { label, id }: GenerateArgs,
  { mechanism, size }: KeyTypeRow,
): readonly [Handle, Handle] {
  const name = [
    { type: CK.CKA_TOKEN, value: true },
    { type: CK.CKA_LABEL, value: label },
    { type: CK.CKA_ID, value: Buffer.from(id, 'hex') },
  ]
  const make = (parameters: Template, use: (typeof USES)[number]): readonly [Handle, Handle] => {
    const { privateKey, publicKey } = token.module.generateKeyPair(
      token.session,
      { mechanism },
      {
        publicKey: [...name, ...use.publicKey, ...parameters],
        privateKey: [...name, ...PROTECTED, ...use.privateKey],
      },
    )
    return [privateKey, publicKey]
  }
  const parameters: readonly Template[] =
    'curves' in size
      ? size.curves.map((curve) => [{ type: CK.CKA_EC_PARAMS, value: curve }])
      : [
          [
            { type: CK.CKA_MODULUS_BITS, value: 'bits' in size ? size.bits : 0 },
            { type: CK.CKA_PUBLIC_EXPONENT, value: Buffer.of(1, 0, 1) },
          ],
        ]
  return firstThatWorks(parameters.flatMap((each) => USES.map((use) => () => make(each, use))))
}

function secretKey(token: Token, { label, id }: GenerateArgs, bytes: number): readonly [Handle] {
  const template: Template = [
    { type: CK.CKA_TOKEN, value: true },
    { type: CK.CKA_LABEL, value: label },
    { type: CK.CKA_ID, value: Buffer.from(id, 'hex') },
    { type: CK.CKA_VALUE_LEN, value: bytes },
    ...PROTECTED,
    { type: CK.CKA_ENCRYPT, value: true },
    { type: CK.CKA_DECRYPT, value: true },
  ]
  const { mechanism } = KEY_TYPES['aes-256']
  const make = (uses: Template): readonly [Handle] => [
    token.module.generateKey(token.session, { mechanism }, [...template, ...uses]),
  ]
  return firstThatWorks([() => make(NO_OTHER_USE), () => make([])])
}

/** Modules differ in what they let one say; the last error is told, what the others mean is "not in these words". */
function firstThatWorks<T>(ways: readonly (() => T)[]): T {
  for (const [index, way] of ways.entries()) {
    try {
      return way()
    } catch (error) {
      const last = index === ways.length - 1
      if (last || !(error instanceof Pkcs11Error) || !OTHER_WORDS.has(error.rv)) throw error
    }
  }
  throw new RangeError('there is no way at all')
}

/** A token may ignore what it is told; a key that can leave it is none that should have been made. */
function refuseIfWeak({ facts }: FoundKey): void {
  const { sensitive, extractable } = facts.attributes
  if (sensitive !== false && extractable !== true) return
  throw new Problem(
    'ERR_HSM_FAILED',
    `the token made a key that is ${sensitive === false ? 'not sensitive' : 'extractable'} although it was told otherwise; the key was destroyed again: see the token's policy`,
  )
}

const PROTECTED: Template = [
  { type: CK.CKA_PRIVATE, value: true },
  { type: CK.CKA_SENSITIVE, value: true },
  { type: CK.CKA_EXTRACTABLE, value: false },
]
const SIGNS_ONLY = {
  publicKey: [{ type: CK.CKA_VERIFY, value: true }],
  privateKey: [{ type: CK.CKA_SIGN, value: true }],
}
/** Modules whose default is "may do everything" have to be told all; others refuse to hear of what a key cannot do anyway. */
const USES: readonly { readonly publicKey: Template; readonly privateKey: Template }[] = [
  {
    publicKey: [
      ...SIGNS_ONLY.publicKey,
      { type: CK.CKA_PRIVATE, value: false },
      { type: CK.CKA_ENCRYPT, value: false },
      { type: CK.CKA_WRAP, value: false },
    ],
    privateKey: [
      ...SIGNS_ONLY.privateKey,
      { type: CK.CKA_SIGN_RECOVER, value: false },
      { type: CK.CKA_DECRYPT, value: false },
      { type: CK.CKA_UNWRAP, value: false },
      { type: CK.CKA_DERIVE, value: false },
    ],
  },
  SIGNS_ONLY,
]
/** It encrypts ticket keys, and has no other purpose. */
const NO_OTHER_USE: Template = [
  { type: CK.CKA_SIGN, value: false },
  { type: CK.CKA_VERIFY, value: false },
  { type: CK.CKA_WRAP, value: false },
  { type: CK.CKA_UNWRAP, value: false },
]
const OTHER_WORDS: ReadonlySet<number> = new Set([
  CKR.ATTRIBUTE_TYPE_INVALID,
  CKR.ATTRIBUTE_VALUE_INVALID,
  CKR.TEMPLATE_INCONSISTENT,
  CKR.DOMAIN_PARAMS_INVALID,
  CKR.CURVE_NOT_SUPPORTED,
])
