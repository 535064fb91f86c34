/** What the job and the command say to each other while they measure without the pool. */

import { z } from 'zod'

import { stepSchema, stopSchema } from '../report/sign-report.ts'

const count = z.number().int().nonnegative()

const taskSchema = z.object({
  key: z.object({
    uri: z.string(),
    label: z.string().nullable(),
    idHex: z.string().nullable(),
    spki: z.string(),
    purpose: z.literal('tls'),
  }),
  codePoint: count,
})

/** To the job. */
export const rawArgsSchema = z.object({
  tasks: z.array(taskSchema),
  /** null: up to the limit or the knee. */
  ladder: z.array(count).nullable(),
  maxSessions: count,
  secondsPerStep: z.number(),
  warmUpSeconds: z.number(),
})

/** From the job, in the order of the tasks. */
export const rawProgressSchema = z.union([
  z.object({ task: count, step: stepSchema }),
  z.object({ task: count, stop: stopSchema }),
])

export type RawArgs = z.infer<typeof rawArgsSchema>
export type RawTask = z.infer<typeof taskSchema>
export type RawProgress = z.infer<typeof rawProgressSchema>
