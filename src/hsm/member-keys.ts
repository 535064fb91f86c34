/** What a member can do with each of its keys: told by its host, proved by test signatures. */

import type { KeyObject } from 'node:crypto'

import { HsmError } from '../errors.ts'
import { type SignatureScheme, schemeByCodePoint } from '../signing.ts'
import type { KeyPurpose, KeyUse } from './key-use.ts'
import { type KeyMessage, type KeyState, problemError } from './messages.ts'
import type { Attempt } from './sign-job.ts'
import type { HsmStatus, KeyOfMemberState } from './status.ts'
import { testMessage } from './test-message.ts'
import { isSignature } from './verify-signature.ts'

/** A key as the configuration and its certificate have it. */
export interface WantedKey {
  readonly message: KeyMessage
  readonly publicKey: KeyObject
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array
}

interface MemberKey {
  readonly wanted: WantedKey
  schemes: ReadonlySet<number>
  /** Schemes not tested yet since the token was opened. */
  untested: ReadonlySet<number>
  /** The host has shown that the token's public key is the certificate's. */
  compared: boolean
  /** The host cannot use it: not found, another key, no mechanism. */
  problem: HsmError | undefined
  /** Why it is set aside until a test signature succeeds: what became of the last one, or of signatures asked for. */
  testError: HsmError | undefined
  /** Failures since it signed last, in this state of the member. */
  failures: number
  /** The same by code point, of schemes that the HSM says it cannot do. */
  readonly refusals: Map<number, number>
}

export class MemberKeys {
  readonly #hsm: string
  readonly #keys: readonly MemberKey[]
  readonly #onUse: (use: KeyUse) => void

  /** @param onUse told of every test signature. */
  constructor(hsm: string, wanted: readonly WantedKey[], onUse: (use: KeyUse) => void = () => {}) {
    this.#hsm = hsm
    this.#onUse = onUse
    this.#keys = wanted.map((key) => ({
      wanted: key,
      schemes: NONE,
      untested: NONE,
      compared: false,
      problem: undefined,
      testError: undefined,
      failures: 0,
      refusals: new Map(),
    }))
  }

  get messages(): readonly KeyMessage[] {
    return this.#keys.map((key) => key.wanted.message)
  }

  /** Schemes that this member does with the key; none before its first test signature. */
  schemes(key: number): ReadonlySet<number> {
    return this.#keys[key]?.schemes ?? NONE
  }

  error(key: number): HsmError | undefined {
    return this.#keys[key]?.problem ?? this.#keys[key]?.testError
  }

  /** Of the keys that cannot be used. */
  errors(): readonly HsmError[] {
    return this.#keys.flatMap((_, key) => this.error(key) ?? [])
  }

  /** The key as it was wanted. @throws {RangeError} */
  wanted(key: number): WantedKey {
    const found = this.#keys[key]
    if (found === undefined) throw new RangeError(`hsm "${this.#hsm}" has no key ${key}`)
    return found.wanted
  }

  purpose(key: number): KeyPurpose {
    return this.wanted(key).message.purpose
  }

  /** The host could use at least one, whatever became of its test signatures. */
  get anyUsable(): boolean {
    return this.#keys.some(({ problem }) => problem === undefined)
  }

  get count(): number {
    return this.#keys.length
  }

  /** @param up is the member? @param retryAtMs `Date.now()` of the next test signature of a key, if one is due. */
  status(up: boolean, retryAtMs: (key: number) => number | undefined): HsmStatus['keys'] {
    return this.#keys.map((wanted, key) => {
      const untilMs = retryAtMs(key)
      const state = up ? stateOfKey(wanted) : 'waiting'
      return {
        uri: wanted.wanted.message.uri,
        state,
        ready: state === 'ready',
        until: untilMs === undefined ? undefined : new Date(untilMs).toISOString(),
        error: this.error(key)?.message,
      }
    })
  }

  /** Why the host cannot use keys. */
  unusable(): readonly HsmError[] {
    return this.#keys.flatMap(({ problem }) => problem ?? [])
  }

  /** Those that only a test signature keeps from signing. */
  get aside(): readonly number[] {
    return this.#keys.flatMap(({ problem, testError }, key) =>
      problem === undefined && testError !== undefined ? [key] : [],
    )
  }

  /** A signature was made with it. */
  signed(key: number, { codePoint }: SignatureScheme): void {
    const found = this.#keys[key]
    if (found === undefined) return
    found.failures = 0
    if (found.refusals.size > 0) found.refusals.delete(codePoint)
  }

  /**
   * A scheme that it could do when it was tested fails with `ERR_HSM_MECHANISM`. What is signed cannot bring that about: the host
   * hashes, and knows the mechanism. So a few in a row are as good as a test signature.
   *
   * @returns what that has cost: the scheme, or the key, whose last it was.
   */
  refused(key: number, scheme: SignatureScheme, error: HsmError): 'scheme' | 'key' | undefined {
    const found = this.#keys[key]
    const { codePoint } = scheme
    if (found === undefined || !found.schemes.has(codePoint) || this.error(key) !== undefined)
      return undefined
    const refusals = (found.refusals.get(codePoint) ?? 0) + 1
    found.refusals.set(codePoint, refusals)
    if (refusals < FAILURES_TO_SET_ASIDE) return undefined
    found.refusals.delete(codePoint)
    this.testFailed(key, scheme, error)
    return this.error(key) === undefined ? 'scheme' : 'key'
  }

  /** A signature failed. @returns true when that has set it aside. */
  failed(key: number, error: HsmError): boolean {
    const found = this.#keys[key]
    if (found === undefined || ++found.failures < FAILURES_TO_SET_ASIDE || this.error(key) !== undefined)
      return false
    found.testError = error
    return true
  }

  /** Takes over what a host that has just opened the token says. */
  opened(states: readonly KeyState[]): void {
    this.#keys.forEach((key, index) => {
      const state = states[index]
      key.schemes = new Set(state?.schemes)
      key.untested = key.schemes
      key.compared = state?.compared ?? false
      key.problem = state?.problem ? problemError(this.#hsm, state.problem) : undefined
      key.testError = undefined
      key.failures = 0
      key.refusals.clear()
    })
  }

  /**
   * The test signatures that are due: with every scheme of every key after the token was opened, since a mechanism that
   * is listed may still not take this hash or this key, and with one scheme of each key later.
   */
  testsDue(): readonly { readonly key: number; readonly scheme: SignatureScheme }[] {
    return this.#keys.flatMap(({ schemes, untested, problem }, key) => {
      if (problem !== undefined) return []
      const due = untested.size > 0 ? [...untested] : [...schemes].slice(0, 1)
      return due.flatMap((codePoint) => {
        const scheme = schemeByCodePoint(codePoint)
        return scheme === undefined ? [] : [{ key, scheme }]
      })
    })
  }

  /** Tests are about to be made: what went wrong before no longer counts. */
  testsBegin(): void {
    for (const key of this.#keys) {
      key.untested = NONE
      key.testError = undefined
      key.failures = 0
    }
  }

  /** The one test signature that a key set aside needs; undefined when it is not, or can do nothing. */
  probeOf(key: number): { readonly key: number; readonly scheme: SignatureScheme } | undefined {
    if (!this.aside.includes(key)) return undefined
    const scheme = schemeByCodePoint([...this.schemes(key)][0] ?? 0)
    return scheme && { key, scheme }
  }

  /** The test signature of a key set aside is good: it signs again. */
  probed(key: number): void {
    const found = this.#keys[key]
    if (found === undefined) return
    found.testError = undefined
    found.failures = 0
  }

  /** @returns false when the certificate's public key does not verify the test signature. */
  testSigned(key: number, scheme: SignatureScheme, signature: Uint8Array): boolean {
    const tested = this.#keys[key]
    if (tested === undefined) return false
    const good = isSignature(
      tested.wanted.publicKey,
      scheme,
      testMessage(scheme, this.purpose(key)),
      signature,
    )
    if (!good) tested.testError = this.#wrongSignature(tested)
    return good
  }

  /** The end of a test signature, for who keeps account of what the key is used for. */
  testEnded({ key, scheme, message, sentAtMs }: Attempt, result: 'ok' | HsmError['code']): void {
    const { spki, message: wanted } = this.wanted(key)
    this.#onUse({
      kind: 'signature',
      reason: 'test',
      hsm: this.#hsm,
      uri: wanted.uri,
      spki,
      scheme,
      message,
      result,
      used: false,
      latencyMs: performance.now() - sentAtMs,
      attempt: 1,
      hedge: false,
      connection: undefined,
    })
  }

  /** A mechanism that fails costs its scheme; any other failure, or the last scheme, costs the key. */
  testFailed(key: number, scheme: SignatureScheme, error: HsmError): void {
    const tested = this.#keys[key]
    if (tested === undefined) return
    if (error.code === 'ERR_HSM_MECHANISM' && tested.schemes.size > 1) {
      tested.schemes = new Set([...tested.schemes].filter((codePoint) => codePoint !== scheme.codePoint))
    } else tested.testError = error
  }

  #wrongSignature(key: MemberKey): HsmError {
    const { uri } = key.wanted.message
    return key.compared
      ? new HsmError('ERR_HSM_BAD_SIGNATURE', `hsm "${this.#hsm}": a test signature with ${uri} is wrong`, {
          hsm: this.#hsm,
        })
      : new HsmError(
          'ERR_HSM_KEY_MISMATCH',
          `hsm "${this.#hsm}": the key ${uri} is not the certificate's key: its test signature does not verify`,
          { hsm: this.#hsm },
        )
  }
}

function stateOfKey({ schemes, problem, testError }: MemberKey): KeyOfMemberState {
  if (problem !== undefined) return 'unusable'
  if (testError !== undefined) return 'set-aside'
  return schemes.size > 0 ? 'ready' : 'waiting'
}

const NONE: ReadonlySet<number> = new Set()
// As many as take a member out of service, when they are all it answers.
const FAILURES_TO_SET_ASIDE = 3
