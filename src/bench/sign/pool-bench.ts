/**
 * Signatures as the proxy makes them: the real pool, its host processes and frames, verification as configured.
 *
 * A closed loop: every session has one caller, which asks again as soon as it has its answer. How many of them are in the HSM
 * at once is the pool's decision, as it is in the proxy; the step says what it has decided.
 */

import { setTimeout as delay } from 'node:timers/promises'

import { HsmError, SealgateError } from '../../errors.ts'
import { SigningService } from '../../hsm/signing-service.ts'
import { testMessage } from '../../hsm/test-message.ts'
import { createLog } from '../../log.ts'
import { createMetrics } from '../../metrics/metrics.ts'
import type { SignatureScheme, SigningKey } from '../../signing.ts'
import type { Step } from '../report/sign-report.ts'
import type { Group, SignBenchPlan } from './plan.ts'
import { StepRecorder } from './step-recorder.ts'

export class PoolBench {
  readonly #service: SigningService
  readonly #plan: SignBenchPlan
  readonly #group: Group
  readonly #metrics = createMetrics()

  /** @param sessions that every HSM is asked for, and as many as the ladder wants at most. */
  constructor(plan: SignBenchPlan, group: Group, sessions: number) {
    this.#plan = plan
    this.#group = group
    const names = group.hsms.map(({ name }) => name)
    // Whoever looks at a table does not want a log between its lines; what happened is in the steps.
    const { log } = createLog({ level: 'silent' })
    this.#service = new SigningService({
      hsms: group.hsms.map((hsm) => ({ ...hsm, sessions })),
      keys: group.keys.map(({ key, spki, keyType }) => ({ key: { ...key, hsms: names }, spki, keyType })),
      signing: { ...plan.signing, queue: Math.max(plan.signing.queue, sessions * names.length) },
      log,
      metrics: this.#metrics,
    })
  }

  /**
   * An HSM that says busy to its first test signature gets a few seconds more.
   *
   * @returns what is wrong, by HSM and key; empty when all sign.
   */
  async start(): Promise<readonly HsmError[]> {
    await this.#service.start()
    const giveUpMs = performance.now() + START_PATIENCE_MS
    const waiting = (): boolean =>
      this.#group.keys.some((_, key) => this.#service.key(key).outlook().state === 'waiting')
    while (waiting() && performance.now() < giveUpMs) await delay(START_LOOK_MS)
    return this.#service.problems()
  }

  /** What these can do; empty when the key cannot be used. @param key as in the group. */
  schemes(key: number): readonly SignatureScheme[] {
    const pooled = this.#service.key(key)
    return pooled.ready ? pooled.schemes : []
  }

  /** Every HSM's own; those that are down have none. */
  hsms(): ReturnType<SigningService['status']> {
    return this.#service.status()
  }

  /** Sessions that every HSM of the group gives. */
  get sessionLimit(): number {
    return Math.min(...this.hsms().map(({ sessions }) => sessions.limit))
  }

  /** @param sessions callers for each HSM. */
  async step(key: number, scheme: SignatureScheme, sessions: number, signal: AbortSignal): Promise<Step> {
    const { warmUpSeconds, secondsPerStep } = this.#plan
    const fromMs = performance.now() + warmUpSeconds * 1000
    const untilMs = fromMs + secondsPerStep * 1000
    const recorder = new StepRecorder(fromMs, untilMs)
    const callers = sessions * this.#group.hsms.length
    const signingKey = this.#service.key(key)
    const goesOn = (): boolean => !signal.aborted && performance.now() < untilMs
    const all = Promise.all(
      Array.from({ length: callers }, () => this.#call(signingKey, scheme, recorder, goesOn)),
    )
    await quietDelay(warmUpSeconds * 1000, signal)
    const before = await this.#throttled()
    const load = performance.eventLoopUtilization()
    await quietDelay(untilMs - performance.now(), signal)
    const endedAtMs = signal.aborted ? performance.now() : untilMs
    const { utilization } = performance.eventLoopUtilization(load)
    const inFlightLimit = this.hsms().reduce((sum, hsm) => sum + hsm.inFlightLimit, 0)
    await all
    const throttled = (await this.#throttled()) - before
    return recorder.step(sessions, endedAtMs, { throttled, inFlightLimit, busy: utilization })
  }

  close(): Promise<void> {
    return this.#service.close()
  }

  async #call(
    key: SigningKey,
    scheme: SignatureScheme,
    recorder: StepRecorder,
    goesOn: () => boolean,
  ): Promise<void> {
    const message = testMessage(scheme)
    while (goesOn()) {
      const startedAtMs = performance.now()
      try {
        const deadlineMs = startedAtMs + this.#plan.signing.timeoutMs
        await key.sign({ scheme, message, deadlineMs, connection: NOBODY })
        recorder.signed(startedAtMs, performance.now())
      } catch (error) {
        recorder.failed(nameOf(error), performance.now())
        // A refusal may come at once: asking again without a pause would measure the refusals.
        await delay(FAILED_PAUSE_MS)
      }
    }
  }

  async #throttled(): Promise<number> {
    const { values } = await this.#metrics.hsmThrottled.get()
    return values.reduce((sum, { value }) => sum + value, 0)
  }
}

/** The return value if there is one, since the code says less. */
function nameOf(error: unknown): string {
  const first = error instanceof HsmError ? (error.errors[0] ?? error) : error
  const call =
    first instanceof HsmError && first.rv !== undefined ? /CKR_\w+/.exec(first.message)?.[0] : undefined
  return call ?? (error instanceof SealgateError ? error.code : String(error))
}

function quietDelay(ms: number, signal: AbortSignal): Promise<void> {
  return delay(Math.max(0, ms), undefined, { signal }).catch(() => {})
}

const NOBODY = { id: 0, serverName: undefined, peer: 'sealgate bench' }
const FAILED_PAUSE_MS = 20
const START_PATIENCE_MS = 5000
const START_LOOK_MS = 50
