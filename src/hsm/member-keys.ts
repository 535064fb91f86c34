/** What a member can do with each of its keys: told by its host, proved by test signatures. */

import type { KeyObject } from 'node:crypto'

import { HsmError } from '../errors.ts'
import { type SignatureScheme, schemeByCodePoint } from '../signing.ts'
import { type KeyMessage, type KeyState, problemError } from './messages.ts'
import { testMessage } from './test-message.ts'
import { isSignature } from './verify-signature.ts'

/** A key as the configuration and its certificate have it. */
export interface WantedKey {
  readonly message: KeyMessage
  readonly publicKey: KeyObject
}

interface MemberKey {
  readonly wanted: WantedKey
  schemes: ReadonlySet<number>
  /** The host has shown that the token's public key is the certificate's. */
  compared: boolean
  /** The host cannot use it: not found, another key, no mechanism. */
  problem: HsmError | undefined
  /** What became of the last test signature. */
  testError: HsmError | undefined
}

export class MemberKeys {
  readonly #hsm: string
  readonly #keys: readonly MemberKey[]

  constructor(hsm: string, wanted: readonly WantedKey[]) {
    this.#hsm = hsm
    this.#keys = wanted.map((key) => ({
      wanted: key,
      schemes: NONE,
      compared: false,
      problem: undefined,
      testError: undefined,
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

  status(): readonly { uri: string; ready: boolean; error: string | undefined }[] {
    return this.#keys.map(({ wanted, schemes }, key) => {
      const error = this.error(key)
      return {
        uri: wanted.message.uri,
        ready: schemes.size > 0 && error === undefined,
        error: error?.message,
      }
    })
  }

  /** Takes over what a host that has just opened the token says. */
  opened(states: readonly KeyState[]): void {
    this.#keys.forEach((key, index) => {
      const state = states[index]
      key.schemes = new Set(state?.schemes)
      key.compared = state?.compared ?? false
      key.problem = state?.problem ? problemError(this.#hsm, state.problem) : undefined
      key.testError = undefined
    })
  }

  /** The keys worth a test signature, and with which scheme. */
  testable(): readonly { key: number; scheme: SignatureScheme; message: Uint8Array }[] {
    return this.#keys.flatMap(({ schemes, problem }, key) => {
      const [first] = schemes
      const scheme = first === undefined ? undefined : schemeByCodePoint(first)
      return scheme === undefined || problem !== undefined
        ? []
        : [{ key, scheme, message: testMessage(scheme) }]
    })
  }

  /** @returns the error when the certificate's public key does not verify the test signature. */
  checkTest(key: number, scheme: SignatureScheme, signature: Uint8Array): HsmError | undefined {
    const tested = this.#keys[key]
    if (tested === undefined) return undefined
    tested.testError = isSignature(tested.wanted.publicKey, scheme, testMessage(scheme), signature)
      ? undefined
      : this.#wrongSignature(tested)
    return tested.testError
  }

  testFailed(key: number, error: HsmError): void {
    const failed = this.#keys[key]
    if (failed !== undefined) failed.testError = error
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

const NONE: ReadonlySet<number> = new Set()
