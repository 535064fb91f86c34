/** What the command and its client processes say to each other. */

import { z } from 'zod'

const count = z.number().int().nonnegative()
const histogramSchema = z.object({
  counts: z.array(z.tuple([count, count])),
  count,
  sumMs: z.number(),
  maxMs: z.number(),
})

export const clientOrderSchema = z.object({
  address: z.string(),
  port: count,
  /** RFC 6066 §3; null: none is sent. */
  servername: z.string().nullable(),
  ca: z.array(z.string()).nullable(),
  insecure: z.boolean(),
  tls: z.enum(['1.2', '1.3']),
  alpn: z.array(z.string()),
  /** Share of handshakes that are to be resumed. */
  resumed: z.number(),
  /** This process's part: per second, or at a time. */
  load: z.union([z.object({ perSecond: z.number() }), z.object({ connections: count })]),
  /** Which of `of` processes it is: they take turns in an open loop. */
  process: count,
  of: count,
  warmUpMs: z.number(),
  measureMs: z.number(),
  /** One that takes longer has failed. */
  timeoutMs: z.number(),
  /** Close with a reset, which leaves no TIME_WAIT behind. */
  reset: z.boolean(),
})

/** What one process has counted. */
const clientResultSchema = z.object({
  full: histogramSchema,
  resumed: histogramSchema,
  /** A ticket was offered and the server wanted a full handshake. */
  notResumed: count,
  /** Of the schedule of an open loop: how late a handshake was begun. */
  lateStart: histogramSchema,
  /** The schedule had more open than this process allows itself. */
  skipped: count,
  /** By errno or alert. */
  errors: z.record(z.string(), count),
  firstError: z.string(),
  /** User and system time of this process in the measured time. */
  cpuSeconds: z.number(),
  seconds: z.number(),
})

export const clientMessageSchema = z.union([
  z.object({ kind: z.literal('ready') }),
  z.object({ kind: z.literal('progress'), done: count, failed: count }),
  z.object({ kind: z.literal('result'), result: clientResultSchema }),
  z.object({ kind: z.literal('failed'), message: z.string() }),
])

export type ClientOrder = z.infer<typeof clientOrderSchema>
export type ClientResult = z.infer<typeof clientResultSchema>
export type ClientMessage = z.infer<typeof clientMessageSchema>
