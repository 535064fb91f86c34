/** The job of the raw measurement: runs in the child that has loaded the module, one ladder after the other. */

import { setTimeout as delay } from 'node:timers/promises'

import { openKey } from '../../hsm/host/key-objects.ts'
import type { JobContext, JobToken, TokenJob } from '../../token/job.ts'
import type { Step, Stop } from '../report/sign-report.ts'
import { endOf, ladderUpTo, stopAfter } from './ladder.ts'
import { type RawArgs, type RawProgress, type RawTask, rawArgsSchema } from './raw-messages.ts'
import { RawThreads } from './raw-threads.ts'
import { StepRecorder } from './step-recorder.ts'

export const job: TokenJob = {
  opens: 'logged-in',
  async run(token, context) {
    const args = rawArgsSchema.parse(context.args)
    const threads = new RawThreads({ module: context.hsm.module, slot: token.slot })
    try {
      for (const [index, task] of args.tasks.entries()) {
        const stop = await climb(token, context, { args, threads, task, index })
        context.progress({ task: index, stop } satisfies RawProgress)
      }
      return null
    } finally {
      await threads.close()
    }
  },
}

interface Climb {
  readonly args: RawArgs
  readonly threads: RawThreads
  readonly task: RawTask
  readonly index: number
}

async function climb(
  token: JobToken,
  context: JobContext,
  { args, threads, task, index }: Climb,
): Promise<Stop> {
  const { key, state } = openKey(token, task.key)
  if (key === undefined) return { reason: 'gone', text: state.problem?.message ?? 'the key cannot be used' }
  if (key.alwaysAuthenticate) {
    return { reason: 'gone', text: 'the key wants a login for every signature (CKA_ALWAYS_AUTHENTICATE)' }
  }
  const limit = Math.min(args.maxSessions, token.sessionLimit)
  const ladder = (args.ladder ?? ladderUpTo(limit)).filter((sessions) => sessions <= limit)
  const steps: Step[] = []
  for (const sessions of ladder) {
    await threads.grow(sessions)
    const step = await measure(threads, sessions, {
      ...args,
      codePoint: task.codePoint,
      keyHandle: key.handle,
    })
    steps.push(step)
    context.progress({ task: index, step } satisfies RawProgress)
    const stop = args.ladder === null || step.signatures === 0 ? stopAfter(steps) : undefined
    if (stop !== undefined) return stop
  }
  return endOf(steps, { limited: args.ladder === null && limit === token.sessionLimit })
}

async function measure(
  threads: RawThreads,
  sessions: number,
  order: Pick<RawArgs, 'secondsPerStep' | 'warmUpSeconds'> & { codePoint: number; keyHandle: Uint8Array },
): Promise<Step> {
  const { codePoint, keyHandle } = order
  const startAtMs = performance.timeOrigin + performance.now() + START_TOGETHER_MS
  const fromMs = startAtMs + order.warmUpSeconds * 1000
  const untilMs = fromMs + order.secondsPerStep * 1000
  const states = await threads.perform(sessions, { codePoint, keyHandle, startAtMs, fromMs, untilMs })
  const recorder = new StepRecorder(fromMs, untilMs)
  for (const state of states) recorder.add(state)
  const busy = states.reduce((sum, { errors }) => sum + (errors['CKR_FUNCTION_FAILED'] ?? 0), 0)
  // The session limit of some tokens is a little late in noticing that sessions were closed.
  await delay(BETWEEN_STEPS_MS)
  return recorder.step(sessions, untilMs, { throttled: busy, inFlightLimit: null, busy: null })
}

const START_TOGETHER_MS = 20
const BETWEEN_STEPS_MS = 20
