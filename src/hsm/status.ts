/** What /status shows of the HSMs. */

/** The words of the drawing in README.md. */
export type MemberState = 'starting' | 'proving' | 'up' | 'resting' | 'down' | 'failed' | 'closed'

/** What /status shows of a member. */
export interface HsmStatus {
  readonly name: string
  readonly state: MemberState
  /** ISO 8601: when this state began. */
  readonly since: string
  readonly pid: number | undefined
  readonly token: { readonly label: string; readonly serial: string } | undefined
  readonly sessions: { readonly open: number; readonly limit: number }
  readonly inFlight: number
  /** A signature that takes longer is asked of another member too. */
  readonly hedgeDelayMs: number
  readonly restarts: number
  readonly lastError: { readonly code: string; readonly message: string; readonly at: string } | undefined
  readonly keys: readonly {
    readonly uri: string
    readonly ready: boolean
    readonly error: string | undefined
  }[]
}
