/** What a run of `bench sign` has found: the format of its JSON file, which `compare` and `plan` read again. */

import { z } from 'zod'

/** Goes up when a reader of the version before would get something wrong. */
export const SIGN_REPORT_VERSION = 1
export const SIGN_REPORT_FORMAT = 'sealgate-bench-sign'

const count = z.number().int().nonnegative()
const amount = z.number().nonnegative()

/** Milliseconds. */
const latencySchema = z.object({ mean: amount, p50: amount, p90: amount, p99: amount, max: amount })

export const stepSchema = z.object({
  /** Signatures asked for at once of each member. */
  sessions: count.min(1),
  /** Measured, without the warm-up; shorter than asked for when the run was stopped. */
  seconds: amount,
  signatures: count,
  /** Signatures per second, of all members of the series together. */
  rate: amount,
  /** Standard error of the rate, by its tenths of the step; how far chance moves it. */
  rateError: amount,
  latencyMs: latencySchema,
  /** By error code or return value; what signatures failed with. */
  errors: z.record(z.string(), count),
  /** Answers by which the HSM said that it is asked for too much. */
  throttled: count,
  /** What the pool allowed in flight at the end, of all members together; null when measured raw. */
  inFlightLimit: count.nullable(),
  /** Share of one processor that the thread in front of the HSM hosts was busy; null when measured raw. */
  busy: amount.nullable(),
})

export const stopSchema = z.object({
  reason: z.enum(['knee', 'token-limit', 'ladder-end', 'failing', 'gone', 'interrupted']),
  /** For people. */
  text: z.string(),
})

const seriesSchema = z.object({
  /** pool: as the proxy signs. raw: C_SignInit and C_Sign in threads, nothing else. */
  path: z.enum(['pool', 'raw']),
  members: z.array(z.string()).min(1),
  /** URI in the configuration. */
  key: z.string(),
  keyType: z.string(),
  scheme: z.string(),
  steps: z.array(stepSchema),
  /** Sessions for each member from which on more bring less than 5 %; null when nothing was measured. */
  knee: z.object({ sessions: count, rate: amount }).nullable(),
  stop: stopSchema,
})

const hsmSchema = z.object({
  name: z.string(),
  module: z.string(),
  token: z.object({ label: z.string(), serial: z.string() }).nullable(),
  /** As configured. */
  sessions: count,
  /** What the token allows; null when it is more than was tried, or unknown. */
  sessionLimit: count.nullable(),
})

const signReportSchema = z.object({
  format: z.literal(SIGN_REPORT_FORMAT),
  version: z.literal(SIGN_REPORT_VERSION),
  sealgate: z.string(),
  startedAt: z.string(),
  endedAt: z.string(),
  /** false: interrupted, or not everything could be measured. */
  complete: z.boolean(),
  machine: z.object({
    processor: z.string(),
    processors: count,
    memoryBytes: count,
    system: z.string(),
    node: z.string(),
    openssl: z.string(),
  }),
  method: z.object({
    secondsPerStep: amount,
    warmUpSeconds: amount,
    verify: z.enum(['auto', 'always']),
    hedge: z.enum(['auto', 'off']),
    timeoutMs: amount,
  }),
  hsms: z.array(hsmSchema),
  /** What could not be measured, in words. */
  notes: z.array(z.string()),
  series: z.array(seriesSchema),
})

export type SignReport = z.infer<typeof signReportSchema>
export type Series = z.infer<typeof seriesSchema>
export type Step = z.infer<typeof stepSchema>
export type Stop = z.infer<typeof stopSchema>
export type HsmFacts = z.infer<typeof hsmSchema>

/** @returns the report, or what is wrong with the first thing that is. */
export function parseSignReport(value: unknown): SignReport | { readonly wrong: string } {
  const result = signReportSchema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  return { wrong: `${issue?.path.join('.') || 'the file'}: ${issue?.message ?? 'is wrong'}` }
}

/** `hsm-a` or `hsm-a + hsm-b`. */
export function membersText({ members }: Pick<Series, 'members'>): string {
  return members.join(' + ')
}
