/**
 * What the probe, in its child process, tells of a module while it looks: raw facts, no judgement.
 *
 * They are told one by one, as they are found, so that a module which crashes or hangs leaves all that was learned before
 * it did, and the name of the call that ended it.
 */

import { z } from 'zod'

import type { KeyMessage } from '../hsm/messages.ts'

/** About to be made. @property about in words, when the call alone does not say it: which key, which slot. */
const calling = z.object({ fact: z.literal('calling'), call: z.string(), about: z.string() })

/** A PKCS#11 function returned something else than CKR_OK, and the probe went on without it. */
const failed = z.object({
  fact: z.literal('failed'),
  call: z.string(),
  rv: z.number().int(),
  about: z.string(),
})

/** CK_INFO, blanks cut off. */
const library = z.object({
  fact: z.literal('library'),
  manufacturer: z.string(),
  description: z.string(),
  /** e.g. `2.6`. */
  version: z.string(),
  cryptoki: z.string(),
})

/** The token is opened again from C_Initialize on: what was told of slots, token and login does not hold. */
const again = z.object({ fact: z.literal('again') })

const token = z.object({
  slot: z.number(),
  label: z.string(),
  serial: z.string(),
  manufacturer: z.string(),
  model: z.string(),
  /** CKF_… of CK_TOKEN_INFO. */
  flags: z.number().int(),
  /** null: unlimited, or unknown. */
  maxSessions: z.number().int().nullable(),
  maxReadWriteSessions: z.number().int().nullable(),
  /** Milliseconds since 1970 by the token's own clock; null: it has none. */
  clockMs: z.number().nullable(),
})

/** All slots, and the tokens in them as far as they answered. */
const slots = z.object({ fact: z.literal('slots'), slots: z.number().int(), tokens: z.array(token) })

/** The one that was asked for. */
const chosen = z.object({ fact: z.literal('chosen'), slot: z.number() })

const login = z.object({
  fact: z.literal('login'),
  /** `withheld`: not tried, so that no try is lost; `refused`: tried once, and the token said no. */
  outcome: z.enum(['accepted', 'already', 'not-needed', 'no-pin', 'withheld', 'refused', 'failed']),
  /** Of `refused` and `failed`, in words that hold no PIN. */
  message: z.string(),
})

const mechanisms = z.object({
  fact: z.literal('mechanisms'),
  list: z.array(
    z.object({
      type: z.number(),
      /** null: C_GetMechanismInfo did not say. */
      signs: z.boolean().nullable(),
      minBits: z.number().nullable(),
      maxBits: z.number().nullable(),
    }),
  ),
})

/** true and false as the token says; `unknown`: it does not know the attribute, or keeps it to itself. */
const flag = z.union([z.boolean(), z.literal('unknown')])

const key = z.object({
  fact: z.literal('key'),
  /** How the configuration calls it, or its label. Names the key in all other facts. */
  key: z.string(),
  label: z.string(),
  idHex: z.string(),
  /** Base64 of the DER SubjectPublicKeyInfo that the token shows; null: it shows none. */
  spki: z.string().nullable(),
  /** The token shows the public key and it is the certificate's; null: there is no certificate. */
  compared: z.boolean().nullable(),
  sign: flag,
  sensitive: flag,
  alwaysSensitive: flag,
  extractable: flag,
  neverExtractable: flag,
  alwaysAuthenticate: flag,
  local: flag,
  decrypt: flag,
  unwrap: flag,
})

/** A key of the configuration that cannot be used, in the words that the proxy would use. */
const keyProblem = z.object({
  fact: z.literal('key-problem'),
  key: z.string(),
  code: z.string(),
  message: z.string(),
})

/** One signature over the test message of its scheme. */
const signature = z.object({
  fact: z.literal('signature'),
  key: z.string(),
  /** Code point of the TLS signature scheme. */
  scheme: z.number().int(),
  /** Base64 of the wire form. */
  signature: z.string(),
  milliseconds: z.number(),
})

/** Signatures one after the other, in one session; milliseconds each. */
const latency = z.object({
  fact: z.literal('latency'),
  key: z.string(),
  scheme: z.number().int(),
  milliseconds: z.array(z.number()),
})

/** Private keys beyond those that were looked at. */
const more = z.object({ fact: z.literal('more-keys'), looked: z.number().int() })

const factSchema = z.discriminatedUnion('fact', [
  calling,
  failed,
  library,
  again,
  slots,
  chosen,
  login,
  mechanisms,
  key,
  keyProblem,
  signature,
  latency,
  more,
])

export type Fact = z.infer<typeof factSchema>
export type FactOf<F extends Fact['fact']> = Extract<Fact, { readonly fact: F }>
export type TokenFact = z.infer<typeof token>
export type KeyFlag = z.infer<typeof flag>

/** @throws {z.ZodError} when the child process said something else. */
export function parseFact(value: unknown): Fact {
  return factSchema.parse(value)
}

/** What the probe is asked to do; goes to the child as JSON. */
export interface ProbeRequest {
  /** Of the configuration; null: whatever private keys the token shows. */
  readonly keys: readonly KeyMessage[] | null
  /** Undefined token choice: the only one that is initialised. */
  readonly anyToken: boolean
  /** False: look at what is public only. */
  readonly login: boolean
  /** `tokenIdentity` of those that refused a PIN a moment ago. */
  readonly refused: readonly string[]
}

/** The same under whatever name a configuration chooses it by. */
export function tokenIdentity({ manufacturer, model, serial, label }: TokenFact): string {
  return JSON.stringify([manufacturer, model, serial, label])
}

const requestSchema = z.object({
  keys: z
    .array(
      z.object({
        uri: z.string(),
        label: z.string().nullable(),
        idHex: z.string().nullable(),
        spki: z.string(),
        purpose: z.enum(['tls', 'audit-checkpoint']),
      }),
    )
    .nullable(),
  anyToken: z.boolean(),
  login: z.boolean(),
  refused: z.array(z.string()),
})

/** @throws {z.ZodError} */
export function parseRequest(value: unknown): ProbeRequest {
  return requestSchema.parse(value)
}
