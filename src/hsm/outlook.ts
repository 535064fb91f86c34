/** What can be expected of a key: signatures now, perhaps later, or only after a person has acted. */

import type { HsmError } from '../errors.ts'

/**
 * - `ready`: somebody signs with it.
 * - `waiting`: nobody does; somebody may by itself, when an HSM is reachable again, say.
 * - `misconfigured`: all members find it wrong in a way that time does not heal. They try again nevertheless.
 * - `given-up`: nobody will try again (a PIN was refused).
 */
export type KeyState = 'ready' | 'waiting' | 'misconfigured' | 'given-up'

export interface KeyOutlook {
  readonly state: KeyState
  /** Of the members that do not sign with it, in the order of the configuration. */
  readonly problems: readonly HsmError[]
}

/** One member, as far as one key is concerned. */
export interface HolderOutlook {
  readonly ready: boolean
  /** It will not be tried again. */
  readonly final: boolean
  /** undefined: ready, or nothing has gone wrong yet. */
  readonly problem: HsmError | undefined
}

/** As good as the best of its members. */
export function keyOutlook(holders: readonly HolderOutlook[]): KeyOutlook {
  const states = new Set(holders.map(holderState))
  return {
    state: BEST_FIRST.find((state) => states.has(state)) ?? 'given-up',
    problems: holders.flatMap(({ problem }) => problem ?? []),
  }
}

function holderState({ ready, final, problem }: HolderOutlook): KeyState {
  if (ready) return 'ready'
  if (final) return 'given-up'
  return problem !== undefined && needsPerson(problem) ? 'misconfigured' : 'waiting'
}

/**
 * A token that is not there, or a module whose C_Initialize fails, may be an HSM that cannot be reached. A library that
 * does not load (no return value), a key that is not there or is not the certificate's, is a mistake.
 */
export function needsPerson({ code, rv }: HsmError): boolean {
  if (code === 'ERR_HSM_MODULE') return rv === undefined
  return code === 'ERR_HSM_PIN' || code === 'ERR_HSM_KEY_NOT_FOUND' || code === 'ERR_HSM_KEY_MISMATCH'
}

const BEST_FIRST: readonly KeyState[] = ['ready', 'waiting', 'misconfigured', 'given-up']
