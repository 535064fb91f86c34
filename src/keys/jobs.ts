/** What can be done with the keys of one HSM: each a job in a process of its own. */

import { z } from 'zod'

import type { HsmOptions } from '../hsm/options.ts'
import { runTokenJob } from '../token/run-token-job.ts'
import type { GenerateArgs } from './generate-job.ts'
import {
  type KeyName,
  keyFactsSchema,
  type TokenFacts,
  type TokenKey,
  tokenFactsSchema,
} from './key-facts.ts'
import type { X509Args } from './x509-job.ts'

/** While one of these keeps somebody waiting. */
export { onSilence } from '../token/silence.ts'

/** The key that something was done with. */
export interface KeyOnToken {
  readonly token: TokenFacts
  readonly key: TokenKey
}

export interface TokenContent {
  readonly token: TokenFacts
  readonly keys: readonly TokenKey[]
  /** There are more keys than were read. */
  readonly more: boolean
}

/** @throws {HsmError | SealgateError} as of `runTokenJob`; so do all of these. */
export function readToken(hsm: HsmOptions): Promise<TokenContent> {
  return runTokenJob(hsm, {
    job: new URL('./list-job.ts', import.meta.url),
    result: (value) => contentSchema.parse(value),
    limitMs: LIMIT_MS,
  })
}

export function generateKey(hsm: HsmOptions, args: GenerateArgs): Promise<KeyOnToken> {
  return runTokenJob(hsm, {
    job: new URL('./generate-job.ts', import.meta.url),
    args,
    result: (value) => keyOnTokenSchema.parse(value),
    limitMs: GENERATE_LIMIT_MS,
  })
}

/** A test signature with every scheme that TLS could ask for. */
export function proveKey(
  hsm: HsmOptions,
  key: KeyName,
): Promise<KeyOnToken & { readonly schemes: readonly string[] }> {
  return runTokenJob(hsm, {
    job: new URL('./prove-job.ts', import.meta.url),
    args: key,
    result: (value) => provedSchema.parse(value),
    limitMs: LIMIT_MS,
  })
}

export function signX509(
  hsm: HsmOptions,
  args: X509Args,
): Promise<KeyOnToken & { readonly scheme: string; readonly der: Buffer }> {
  return runTokenJob(hsm, {
    job: new URL('./x509-job.ts', import.meta.url),
    args,
    result: (value) => {
      const { der, ...rest } = signedSchema.parse(value)
      return { ...rest, der: Buffer.from(der, 'base64') }
    },
    limitMs: LIMIT_MS,
  })
}

export function destroyKey(hsm: HsmOptions, key: KeyName): Promise<KeyOnToken> {
  return runTokenJob(hsm, {
    job: new URL('./destroy-job.ts', import.meta.url),
    args: key,
    result: (value) => keyOnTokenSchema.parse(value),
    limitMs: LIMIT_MS,
  })
}

const contentSchema = z.object({ token: tokenFactsSchema, keys: z.array(keyFactsSchema), more: z.boolean() })
const keyOnTokenSchema = z.object({ token: tokenFactsSchema, key: keyFactsSchema })
const provedSchema = keyOnTokenSchema.extend({ schemes: z.array(z.string()) })
const signedSchema = keyOnTokenSchema.extend({ scheme: z.string(), der: z.string() })

// Over a slow line, with a thousand keys to read.
const LIMIT_MS = 60_000
// Some smart cards take minutes for RSA-4096.
const GENERATE_LIMIT_MS = 600_000
