/** Signatures without pool and frames: C_SignInit and C_Sign on as many threads as sessions, in a child process. */

import type { HsmOptions } from '../../hsm/options.ts'
import type { SignatureScheme } from '../../signing.ts'
import { runTokenJob } from '../../token/run-token-job.ts'
import { type BenchKey, MAX_SESSIONS, type SignBenchPlan } from './plan.ts'
import { type RawArgs, type RawProgress, type RawTask, rawProgressSchema } from './raw-messages.ts'

export interface RawWork {
  readonly key: BenchKey
  readonly scheme: SignatureScheme
}

/**
 * Does all of it, one after the other, with one login.
 *
 * @param onProgress `task` is an index of `work`.
 * @throws {SealgateError} of `runTokenJob`; what was measured before has been told.
 */
export function measureRaw(
  plan: SignBenchPlan,
  { hsm, work }: { readonly hsm: HsmOptions; readonly work: readonly RawWork[] },
  {
    onProgress,
    signal,
  }: { readonly onProgress: (progress: RawProgress) => void; readonly signal: AbortSignal },
): Promise<void> {
  const { warmUpSeconds, secondsPerStep, ladder } = plan
  const args: RawArgs = {
    tasks: work.map(({ key, scheme }) => taskFor(hsm, key, scheme)),
    ladder: ladder === undefined ? null : [...ladder],
    maxSessions: ladder === undefined ? MAX_SESSIONS : Math.max(...ladder),
    secondsPerStep,
    warmUpSeconds,
  }
  return runTokenJob(
    { ...hsm, sessions: MAX_SESSIONS },
    {
      job: new URL('./raw-job.ts', import.meta.url),
      args,
      result: () => {},
      onProgress: (value) => onProgress(rawProgressSchema.parse(value)),
      limitMs: (warmUpSeconds + secondsPerStep) * 1000 + PATIENCE_MS,
      threads: 0,
      signal,
    },
  )
}

function taskFor(hsm: HsmOptions, { key, spki }: BenchKey, scheme: SignatureScheme): RawTask {
  const { uri, label, id } = key.byHsm?.get(hsm.name) ?? key
  return {
    key: {
      uri,
      label: label ?? null,
      idHex: id === undefined ? null : Buffer.from(id).toString('hex'),
      spki: Buffer.from(spki).toString('base64'),
      purpose: 'tls',
    },
    codePoint: scheme.codePoint,
  }
}

// Some tokens take 20 s to open, and a hundred sessions are opened in a row.
const PATIENCE_MS = 60_000
