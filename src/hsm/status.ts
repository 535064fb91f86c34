/** What /status shows of the HSMs. */

import type { Rung } from './ckr.ts'

/** The words of the drawing in README.md. */
export type MemberState =
  | 'starting'
  | 'proving'
  | 'up'
  | 'resting'
  | 'recovering'
  | 'down'
  | 'failed'
  | 'closed'

/**
 * What becomes of one key of a member:
 *
 * - `ready`: it is signed with;
 * - `set-aside`: the member is up and signs with others; with this one test signatures are made until one is good;
 * - `unusable`: the host cannot use it (not there, another key, no mechanism);
 * - `waiting`: the member is not up.
 */
export type KeyOfMemberState = 'ready' | 'set-aside' | 'unusable' | 'waiting'

/** What /status shows of a key. */
export interface KeyStatus {
  /** Members that sign with it now, of those that should. */
  readonly membersReady: number
  readonly members: number
  /** Signatures that wait for a member with room, and how many may before more are refused. */
  readonly waiting: number
  readonly queue: number
  /** ISO 8601: since when nobody signs with it. */
  readonly outageSince: string | undefined
}

/** What /status shows of a member. */
export interface HsmStatus {
  readonly name: string
  readonly state: MemberState
  /** ISO 8601: when this state began. */
  readonly since: string
  /**
   * ISO 8601: when it ends at the latest. A member that is resting then makes a test signature, one that is down
   * gets a new host, and one that is starting or recovering is given up and its host killed.
   */
  readonly until: string | undefined
  readonly pid: number | undefined
  readonly token: { readonly label: string; readonly serial: string } | undefined
  readonly sessions: { readonly open: number; readonly limit: number }
  /** Signatures asked for and not answered. */
  readonly inFlight: number
  /** As many may be: at most the sessions; fewer where more bring nothing, or the HSM says that it is busy. */
  readonly inFlightLimit: number
  /** It throttles, and is asked for so many a second at most; undefined when it does not. */
  readonly requestsPerSecond: number | undefined
  /** A signature that takes longer is asked of another member too. */
  readonly hedgeDelayMs: number
  readonly restarts: number
  /** While it recovers: the rung of the ladder it is on, since when it climbs, and the rungs taken since then. */
  readonly recovery: { readonly rung: Rung; readonly since: string; readonly attempts: number } | undefined
  readonly lastError: { readonly code: string; readonly message: string; readonly at: string } | undefined
  readonly keys: readonly {
    readonly uri: string
    readonly state: KeyOfMemberState
    /** The member signs with it now. */
    readonly ready: boolean
    /** ISO 8601: when a key that is set aside is tried again. */
    readonly until: string | undefined
    readonly error: string | undefined
  }[]
}
