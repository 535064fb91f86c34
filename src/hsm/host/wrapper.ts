/**
 * Wraps and unwraps the fleet's ticket keys with an AES key of the token: CKM_AES_GCM, the whole set in one part.
 *
 * # What an intruder gets
 *
 * Only that key, which no sign request reaches, and only sets of ticket keys: every header is bound in as additional data
 * and has to begin with a line of its own, so nothing that anybody else has encrypted with this key can be opened.
 *
 * # Calls
 *
 * On the session that holds the login and on this thread: it happens twice a rotation, and takes as long as two or three
 * signatures. Single-part operations leave no state behind, not even when they fail.
 */

import { randomBytes, timingSafeEqual } from 'node:crypto'

import { returnValue } from '../ckr.ts'
import { WRAP_CALLS, WRAP_DIRECTIONS, type WrapCall, type WrapReason } from '../frames.ts'
import type { WrappingKeyMessage } from '../messages.ts'
import { areTicketKeys, isTicketHeader } from './key-use-policy.ts'
import { CK, type Handle, Pkcs11Error, type Template } from './pkcs11.ts'
import type { Token } from './token.ts'

export interface WrapAnswers {
  /** @param body valid only during the call. */
  wrapped(request: number, body: Uint8Array): void
  notWrapped(request: number, facts: { rv: number; call: WrapCall; reason: WrapReason }): void
}

export class Wrapper {
  readonly #wanted: WrappingKeyMessage | null
  readonly #answers: WrapAnswers
  readonly #failed: (error: Pkcs11Error) => void
  /** undefined while suspended. */
  #token: Token | undefined
  #key: Handle | undefined

  /** @param failed told of errors that are the session's or the token's, and not the request's. */
  constructor(wanted: WrappingKeyMessage | null, answers: WrapAnswers, failed: (error: Pkcs11Error) => void) {
    this.#wanted = wanted
    this.#answers = answers
    this.#failed = failed
  }

  resume(token: Token): void {
    this.#token = token
  }

  suspend(): void {
    this.#token = undefined
    this.#key = undefined
  }

  /** @param payload of a `wrap` frame; what holds keys in it is zeroed. */
  handle(payload: Buffer): void {
    const request = payload.readUInt32BE(0)
    try {
      const output = this.#perform(payload)
      this.#answers.wrapped(request, output)
      output.fill(0)
    } catch (error) {
      this.#refuse(request, error)
    } finally {
      payload.fill(0)
    }
  }

  #perform(payload: Buffer): Buffer {
    const direction = WRAP_DIRECTIONS[payload.readUInt8(4)]
    const bodyAt = 7 + payload.readUInt16BE(5)
    const header = Buffer.from(payload.subarray(7, bodyAt))
    const body = payload.subarray(bodyAt)
    if (direction === undefined || bodyAt >= payload.length || !isTicketHeader(header))
      throw new Refusal('policy')
    const token = this.#token
    if (token === undefined) throw new Refusal('recovering')
    if (!token.mechanisms.has(CK.CKM_AES_GCM)) throw new Refusal('no-mechanism')
    // Looked for when it is needed: it may be made while the host runs.
    this.#key ??= this.#find(token)
    return direction === 'wrap'
      ? wrap(token, this.#key, header, Buffer.from(body))
      : unwrap(token, this.#key, header, body)
  }

  #find(token: Token): Handle {
    const wanted = this.#wanted
    if (wanted === null) throw new Refusal('no-such-key')
    const template: Template = [
      { type: CK.CKA_CLASS, value: CK.CKO_SECRET_KEY },
      ...(wanted.idHex === null ? [] : [{ type: CK.CKA_ID, value: Buffer.from(wanted.idHex, 'hex') }]),
      ...(wanted.label === null ? [] : [{ type: CK.CKA_LABEL, value: wanted.label }]),
    ]
    const found = token.module.findObjects(token.session, template, MAX_CANDIDATES)
    const aes = found.filter((key) => isAes(token.module.attribute(token.session, key, CK.CKA_KEY_TYPE)))
    const [key, ...others] = aes
    // Two of them would be taken now the one and now the other.
    if (key === undefined || others.length > 0) throw new Refusal('no-such-key')
    const flag = (type: number): number | undefined => token.module.attribute(token.session, key, type)?.[0]
    // Who may read the key needs no host to open what it has wrapped.
    if (flag(CK.CKA_EXTRACTABLE) === 1 || flag(CK.CKA_SENSITIVE) === 0) throw new Refusal('extractable')
    return key
  }

  #refuse(request: number, error: unknown): void {
    this.#key = undefined
    if (error instanceof Refusal) {
      this.#answers.notWrapped(request, { rv: 0, call: '', reason: error.reason })
      return
    }
    if (!(error instanceof Pkcs11Error)) throw error
    const call = WRAP_CALLS.find((known) => known === error.call) ?? ''
    this.#answers.notWrapped(request, { rv: error.rv, call, reason: 'call' })
    // A text that does not open is answered with the same values as a device that is ill (CKR_GENERAL_ERROR): whoever can
    // write the shared place must not be able to make hosts recover. Signatures find out what is left out here.
    if (RUNG_ACTIONS.has(returnValue(error.rv).action)) this.#failed(error)
  }
}

class Refusal extends Error {
  readonly reason: WrapReason

  constructor(reason: WrapReason) {
    super(reason)
    this.reason = reason
  }
}

/** @returns length of the IV (u8), IV, ciphertext and tag. */
function wrap(token: Token, key: Handle, header: Buffer, keys: Buffer): Buffer {
  if (!areTicketKeys(keys)) throw new Refusal('policy')
  const iv = randomBytes(IV_BYTES)
  const output = token.module.encryptGcm(token.session, key, { iv, header }, keys)
  // An HSM may insist on an IV of its own: written into ours (AWS CloudHSM), or put behind the tag (Luna, FIPS mode).
  const ownIvBytes = output.length - keys.length - TAG_BYTES
  const sealed = output.subarray(0, keys.length + TAG_BYTES)
  const usedIv = ownIvBytes > 0 ? output.subarray(-ownIvBytes) : iv
  const wrapped = Buffer.concat([Buffer.from([usedIv.length]), usedIv, sealed])
  const back = unwrap(token, key, header, wrapped)
  const same = back.length === keys.length && timingSafeEqual(back, keys)
  back.fill(0)
  keys.fill(0)
  if (!same) throw new Refusal('not-reversible')
  return wrapped
}

function unwrap(token: Token, key: Handle, header: Buffer, wrapped: Buffer): Buffer {
  const ivBytes = wrapped[0] ?? 0
  const iv = Buffer.from(wrapped.subarray(1, 1 + ivBytes))
  const sealed = Buffer.from(wrapped.subarray(1 + ivBytes))
  if (ivBytes < IV_BYTES || ivBytes > MAX_IV_BYTES || sealed.length <= TAG_BYTES) throw new Refusal('policy')
  const keys = token.module.decryptGcm(token.session, key, { iv, header }, sealed)
  if (!areTicketKeys(keys)) {
    keys.fill(0)
    throw new Refusal('policy')
  }
  return keys
}

/** A CK_ULONG, whatever its size. */
function isAes(keyType: Buffer | undefined): boolean {
  return keyType?.[0] === CKK_AES && keyType.subarray(1).every((byte) => byte === 0)
}

const RUNG_ACTIONS: ReadonlySet<string> = new Set(['session', 'login', 'keys', 'module'])
const CKK_AES = 0x1f
const MAX_CANDIDATES = 4
// NIST SP 800-38D §8.2.2: random IVs of 96 bits, far fewer than 2^32 with one key.
const IV_BYTES = 12
const MAX_IV_BYTES = 16
const TAG_BYTES = 16
