/** What a run of `bench handshake` has found. */

import type { LatencySummary } from '../histogram.ts'
import type { HsmShare } from './scrape.ts'

export const HANDSHAKE_REPORT_FORMAT = 'sealgate-bench-handshake'
export const HANDSHAKE_REPORT_VERSION = 1

export interface HandshakeReport {
  readonly format: typeof HANDSHAKE_REPORT_FORMAT
  readonly version: typeof HANDSHAKE_REPORT_VERSION
  readonly sealgate: string
  readonly startedAt: string
  readonly complete: boolean
  readonly target: string
  readonly tls: '1.2' | '1.3'
  readonly loop: { readonly perSecond: number } | { readonly connections: number }
  readonly resumedShare: number
  readonly seconds: number
  readonly full: Kind
  readonly resumed: Kind
  /** Tickets that the server did not take. */
  readonly notResumed: number
  readonly errors: Readonly<Record<string, number>>
  readonly firstError: string
  readonly generator: {
    readonly processes: number
    readonly cpuSeconds: number
    /** null when there was no handshake. */
    readonly cpuMicrosPerHandshake: number | null
    /** Share of one processor that the busiest process took. */
    readonly busiest: number
    /** p99 of how much later than intended handshakes began, ms; null in a closed loop. */
    readonly lateStartP99Ms: number | null
    readonly skipped: number
    /** It had time to spare, so the figures are the server's. */
    readonly hadTimeToSpare: boolean
  }
  /** null unless `--server-pid` was given. */
  readonly server: { readonly cpuSeconds: number; readonly cpuMicrosPerHandshake: number | null } | null
  /** null unless `--admin` was given. */
  readonly hsm: HsmShare | null
}

export interface Kind {
  readonly handshakes: number
  readonly perSecond: number
  readonly latencyMs: LatencySummary
}
