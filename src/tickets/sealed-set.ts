/**
 * How a set of ticket keys looks to everybody but the HSMs: three lines of text.
 *
 *     sealgate ticket keys 1
 *     {"key":"pkcs11:object=tickets","created":"…","keys":[{"name":"…","from":"…","until":"…"}, …]}
 *     base64 of what the HSM has made of the keys: IV, ciphertext, tag
 *
 * The first two lines, to the byte, are additional data of the encryption: dates and names are open for `tickets show`, but
 * nobody can change them. Names are on the wire in every ticket.
 */

import { z } from 'zod'
import { TicketsError } from '../errors.ts'
import { type Dates, firstKey, forget, KEY_BYTES, type KeySet, keyName } from './key-set.ts'
import type { WrappingKey } from './wrapping-key.ts'

/** What can be known without an HSM. */
export interface SealedSet {
  /** URI of the key that wraps it. */
  readonly key: string
  readonly createdMs: number
  /** Newest first. */
  readonly keys: readonly (Dates & { readonly name: string })[]
  readonly header: Buffer
  readonly wrapped: Buffer
}

/** @returns the text. @throws {HsmError} */
export async function seal(set: KeySet, key: WrappingKey): Promise<string> {
  const described = {
    key: key.uri,
    created: date(set.createdMs),
    keys: set.keys.map((key) => ({ name: keyName(key), from: date(key.fromMs), until: date(key.untilMs) })),
  }
  const header = Buffer.from(`${FIRST_LINE}\n${JSON.stringify(described)}\n`)
  const secrets = Buffer.concat(set.keys.map(({ secret }) => secret))
  try {
    const wrapped = await key.wrap(header, secrets)
    return `${header.toString()}${wrapped.toString('base64')}\n`
  } finally {
    secrets.fill(0)
  }
}

/**
 * Reads the text without opening it.
 *
 * @throws {TicketsError} `ERR_TICKETS_MALFORMED`.
 */
export function parseSealed(text: string): SealedSet {
  if (text.length > MAX_SEALED_BYTES) throw malformed(`is longer than ${MAX_SEALED_BYTES} bytes`)
  const [first, second = '', third = '', end, ...more] = text.split('\n')
  if (first !== FIRST_LINE)
    throw malformed(
      first?.startsWith(FIRST_WORDS) ? `is of another version: "${first}"` : 'is something else',
    )
  if (end !== '' || more.length > 0 || !BASE64.test(third)) throw malformed('is cut off, or has been edited')
  const described = headerSchema.safeParse(json(second))
  if (!described.success) throw malformed('has a header that is none')
  const { key, created, keys } = described.data
  const set = {
    key,
    createdMs: Date.parse(created),
    keys: keys.map(({ name, from, until }) => ({
      name,
      fromMs: Date.parse(from),
      untilMs: Date.parse(until),
    })),
  }
  if (
    set.keys.some(
      ({ fromMs, untilMs }, at) => untilMs <= fromMs || fromMs >= (set.keys[at - 1]?.fromMs ?? Infinity),
    )
  )
    throw malformed('has dates in the wrong order')
  return {
    ...set,
    header: Buffer.from(`${first}\n${second}\n`),
    wrapped: Buffer.from(third, 'base64'),
  }
}

/** @throws {TicketsError} `ERR_TICKETS_OTHER_KEY`, `ERR_TICKETS_DATES`: no reason to trouble an HSM. */
export function checkSealed(sealed: SealedSet, uri: string, nowMs: number): void {
  if (sealed.key !== uri)
    throw new TicketsError(
      'ERR_TICKETS_OTHER_KEY',
      `the shared ticket keys are wrapped by ${sealed.key}, and this node has ${uri}`,
    )
  if (firstKey(sealed, nowMs) !== undefined) return
  const [newest] = sealed.keys
  const expired = newest !== undefined && newest.untilMs <= nowMs
  const when = expired
    ? `have expired at ${date(newest.untilMs)}: nobody rotates them`
    : `are not valid before ${date(sealed.keys.at(-1)?.fromMs ?? nowMs)}: do the clocks agree?`
  throw new TicketsError('ERR_TICKETS_DATES', `the shared ticket keys ${when}`)
}

/** @throws {HsmError}; {TicketsError} `ERR_TICKETS_MALFORMED`. */
export async function unseal(sealed: SealedSet, key: WrappingKey): Promise<KeySet> {
  const secrets = await key.unwrap(sealed.header, sealed.wrapped)
  try {
    if (secrets.length !== sealed.keys.length * KEY_BYTES)
      throw malformed('holds more or fewer keys than it says')
    const keys = sealed.keys.map(({ fromMs, untilMs }, at) => {
      const secret = Buffer.allocUnsafeSlow(KEY_BYTES)
      secrets.copy(secret, 0, at * KEY_BYTES)
      return { secret, fromMs, untilMs }
    })
    const set = { createdMs: sealed.createdMs, keys }
    if (keys.every((key, at) => keyName(key) === sealed.keys[at]?.name)) return set
    forget(set)
    throw malformed('holds other keys than it says')
  } finally {
    secrets.fill(0)
  }
}

const timestamp = () => z.string().refine((text) => !Number.isNaN(Date.parse(text)) && text.length <= 24)
const headerSchema = z.strictObject({
  key: z.string().max(4096),
  created: timestamp(),
  keys: z
    .array(
      z.strictObject({ name: z.string().regex(/^[0-9a-f]{32}$/), from: timestamp(), until: timestamp() }),
    )
    .min(1)
    .max(8),
})

function json(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function date(ms: number): string {
  return new Date(ms).toISOString()
}

function malformed(what: string): TicketsError {
  return new TicketsError('ERR_TICKETS_MALFORMED', `what should be the shared ticket keys ${what}`)
}

const FIRST_WORDS = 'sealgate ticket keys '
const FIRST_LINE = `${FIRST_WORDS}1`
const BASE64 = /^(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
/** Eight keys are about 2 KB. */
export const MAX_SEALED_BYTES = 8192
