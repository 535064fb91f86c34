/**
 * The job of the raw measurement: runs in the child that has loaded the module, one ladder after the other.
 *
 * The threads that sign are those of an addon (../native/sign_load.h): from JavaScript a call costs some µs, a tenth of what a
 * token in software needs for its signature, and what is asked for is how fast the module is.
 */

import { setTimeout as delay } from 'node:timers/promises'

import { returnValue } from '../../hsm/ckr.ts'
import { openKey } from '../../hsm/host/key-objects.ts'
import { schemeByCodePoint } from '../../signing.ts'
import type { JobContext, JobToken, TokenJob } from '../../token/job.ts'
import { loadSignLoad, type NativeSignsTaken, type SignLoad } from '../native/addon.ts'
import type { Step, Stop } from '../report/sign-report.ts'
import { endOf, ladderUpTo, stopAfter } from './ladder.ts'
import { type RawArgs, type RawProgress, type RawTask, rawArgsSchema } from './raw-messages.ts'
import { rawWork } from './raw-work.ts'
import { StepRecorder } from './step-recorder.ts'

export const job: TokenJob = {
  opens: 'logged-in',
  async run(token, context) {
    const args = rawArgsSchema.parse(context.args)
    for (const [index, task] of args.tasks.entries()) {
      const stop = await climb(token, context, { args, task, index })
      context.progress({ task: index, stop } satisfies RawProgress)
    }
    return null
  },
}

interface Climb {
  readonly args: RawArgs
  readonly task: RawTask
  readonly index: number
}

async function climb(token: JobToken, context: JobContext, { args, task, index }: Climb): Promise<Stop> {
  const { key, state } = openKey(token, task.key)
  if (key === undefined) return { reason: 'gone', text: state.problem?.message ?? 'the key cannot be used' }
  if (key.alwaysAuthenticate) {
    return { reason: 'gone', text: 'the key wants a login for every signature (CKA_ALWAYS_AUTHENTICATE)' }
  }
  const scheme = schemeByCodePoint(task.codePoint)
  if (scheme === undefined) throw new RangeError(`no scheme ${task.codePoint}`)
  const limit = Math.min(args.maxSessions, token.sessionLimit)
  const ladder = (args.ladder ?? ladderUpTo(limit)).filter((sessions) => sessions <= limit)
  const { SignLoad } = loadSignLoad()
  const place = { module: context.hsm.module, slot: token.slot, key: key.handle }
  const load = new SignLoad(rawWork(place, scheme))
  const steps: Step[] = []
  try {
    for (const sessions of ladder) {
      const step = await measure(load, sessions, args)
      steps.push(step)
      context.progress({ task: index, step } satisfies RawProgress)
      const stop = args.ladder === null || step.signatures === 0 ? stopAfter(steps) : undefined
      if (stop !== undefined) return stop
    }
  } finally {
    load.close()
  }
  return endOf(steps, { limited: args.ladder === null && limit === token.sessionLimit })
}

async function measure(
  load: SignLoad,
  sessions: number,
  { warmUpSeconds, secondsPerStep }: Pick<RawArgs, 'secondsPerStep' | 'warmUpSeconds'>,
): Promise<Step> {
  const fromMs = warmUpSeconds * 1000
  const untilMs = fromMs + secondsPerStep * 1000
  const recorder = new StepRecorder(fromMs, untilMs)
  load.start(sessions, untilMs)
  for (let running = sessions; running > 0; ) {
    await delay(TAKE_MS)
    const taken = load.take()
    record(taken.records, recorder)
    running = taken.running
  }
  const step = recorder.step(sessions, untilMs, { throttled: 0, inFlightLimit: null, busy: null })
  // The session limit of some tokens is a little late in noticing that sessions were closed.
  await delay(BETWEEN_STEPS_MS)
  return { ...step, throttled: step.errors[BUSY] ?? 0 }
}

function record(records: NativeSignsTaken['records'], recorder: StepRecorder): void {
  for (let at = 0; at < records.length; at += FIELDS) {
    const startedMs = records[at] ?? 0
    const endedMs = records[at + 1] ?? 0
    const rv = records[at + 2] ?? 0
    if (rv === 0) recorder.signed(startedMs, endedMs)
    else recorder.failed(returnValue(rv).name, endedMs)
  }
}

/** Of one record in `NativeSignsTaken.records`. */
const FIELDS = 3
const BUSY = 'CKR_FUNCTION_FAILED'
const TAKE_MS = 50
const BETWEEN_STEPS_MS = 20
