/**
 * The one door to the threads of the raw measurement: an addon of its own, so that the one that terminates TLS knows of no
 * PKCS#11. Only the process of a benchmark's job loads it.
 */

import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { NativeError } from '../../errors.ts'

/**
 * Signatures of one key on threads of their own, each with a session, as fast as the module gives them: the load of a
 * benchmark. JavaScript has no part in a signature; what has come of them is fetched with `take()`, every now and then.
 */
export interface SignLoad {
  /** Once those of the last start have ended. Times of the records count from here. */
  start(threads: number, forMs: number): void
  take(): NativeSignsTaken
  /** Waits for calls that are in the module. Idempotent. */
  close(): void
}

export interface NativeSignWork {
  /** Path of the PKCS#11 module. This process has loaded it, initialized it and logged in. */
  readonly module: string
  /** The bytes of a CK_ULONG, as `key`. */
  readonly slot: Uint8Array
  readonly key: Uint8Array
  /** CK_MECHANISM_TYPE */
  readonly mechanism: number
  /** The mechanism's, as it stands in memory; empty: none. */
  readonly parameter: Uint8Array
  /** Of C_Sign. Copied, as all of this. */
  readonly input: Uint8Array
}

export interface NativeSignsTaken {
  /** Since the last call; three numbers each: begun, ended (ms since `start()`), and the return value. */
  readonly records: Float64Array
  /** Threads that still sign; 0: these records are the last. */
  readonly running: number
}

export interface SignLoadAddon {
  /** @throws an Error when this process has not loaded the module. */
  SignLoad: new (
    work: NativeSignWork,
  ) => SignLoad
}

/** @throws {NativeError} `ERR_NATIVE_LOAD` when it has not been built. */
export function loadSignLoad(): SignLoadAddon {
  const file = fileURLToPath(new URL('../../../build/Release/sign_load.node', import.meta.url))
  try {
    return createRequire(import.meta.url)(file) as SignLoadAddon
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new NativeError(
      'ERR_NATIVE_LOAD',
      `the addon of bench sign does not load (build it with: npm run build:native): ${reason}`,
    )
  }
}
