/**
 * Climbs every ladder: each HSM through the pool and raw, then all together through the pool.
 *
 * One after the other: two measurements at once would measure each other.
 */

import { type HsmError, SealgateError } from '../../errors.ts'
import type { SignatureScheme } from '../../signing.ts'
import { packageVersion } from '../../version.ts'
import { machineFacts } from '../machine.ts'
import {
  type HsmFacts,
  type Series,
  SIGN_REPORT_FORMAT,
  SIGN_REPORT_VERSION,
  type SignReport,
  type Step,
  type Stop,
} from '../report/sign-report.ts'
import { endOf, kneeOf, ladderUpTo, stopAfter } from './ladder.ts'
import { type BenchKey, type Group, groupsOf, MAX_SESSIONS, type SignBenchPlan } from './plan.ts'
import { PoolBench } from './pool-bench.ts'
import { measureRaw, type RawWork } from './raw-bench.ts'

export type SeriesHead = Omit<Series, 'steps' | 'knee' | 'stop'>

/** Who watches. */
export interface SignBenchEvents {
  /** @param ladder that it may climb; it can end earlier. */
  seriesStarted(head: SeriesHead, ladder: readonly number[]): void
  stepStarted(sessions: number): void
  stepEnded(step: Step): void
  seriesEnded(series: Series): void
  /** Something cannot be measured. */
  note(text: string): void
}

/**
 * @param signal ends it early; the report then has what was measured, and `complete` is false.
 * @throws {HsmError} when nothing at all could be measured.
 */
export async function benchSigning(
  plan: SignBenchPlan,
  events: SignBenchEvents,
  signal: AbortSignal,
): Promise<SignReport> {
  return new SignBench(plan, events, signal).run()
}

class SignBench {
  readonly #plan: SignBenchPlan
  readonly #events: SignBenchEvents
  readonly #signal: AbortSignal
  readonly #series: Series[] = []
  readonly #hsms = new Map<string, HsmFacts>()
  readonly #notes: string[] = []
  /** Why an HSM is left alone from then on: above all, a PIN that was refused is not tried again. */
  readonly #failed = new Map<string, HsmError>()
  #complete = true

  constructor(plan: SignBenchPlan, events: SignBenchEvents, signal: AbortSignal) {
    this.#plan = plan
    this.#events = events
    this.#signal = signal
  }

  async run(): Promise<SignReport> {
    const startedAt = new Date().toISOString()
    for (const group of groupsOf(this.#plan)) {
      if (this.#signal.aborted) break
      const failed = group.hsms.filter(({ name }) => this.#failed.has(name))
      if (failed.length > 0) {
        this.#note(`${namesOf(group.hsms)} together: not measured, ${namesOf(failed)} cannot be used`)
        continue
      }
      await this.#measure(group)
    }
    const [error] = this.#failed.values()
    if (this.#series.every(({ steps }) => steps.length === 0) && error !== undefined) throw error
    return this.#report(startedAt)
  }

  async #measure(group: Group): Promise<void> {
    // Raw goes with what each HSM could do through the pool: the same keys, the same schemes.
    const work = await this.#throughPool(group)
    const [hsm, second] = group.hsms
    if (hsm === undefined || second !== undefined || !this.#plan.paths.has('raw')) return
    if (work.length > 0 && !this.#signal.aborted) await this.#raw({ hsm, work })
  }

  async #throughPool(group: Group): Promise<readonly RawWork[]> {
    const largest = this.#plan.ladder === undefined ? MAX_SESSIONS : Math.max(...this.#plan.ladder)
    const pool = new PoolBench(this.#plan, group, largest)
    try {
      const problems = await pool.start()
      this.#learn(group, { pool, asked: largest, problems })
      const work: RawWork[] = []
      for (const [index, key] of group.keys.entries()) {
        for (const scheme of this.#wanted(pool.schemes(index))) {
          if (group.hsms.length === 1) work.push({ key, scheme })
          if (this.#plan.paths.has('pool')) await this.#climb(pool, { group, index, key, scheme })
          if (this.#signal.aborted) return work
        }
      }
      if (work.length === 0 && group.hsms.length === 1 && problems.length === 0) this.#noSchemes(group)
      return work
    } finally {
      await pool.close()
    }
  }

  async #climb(
    pool: PoolBench,
    { group, index, key, scheme }: { group: Group; index: number; key: BenchKey; scheme: SignatureScheme },
  ): Promise<void> {
    const head = headOf('pool', namesList(group), key, scheme)
    const limit = pool.sessionLimit
    const ladder = this.#ladder(limit, group)
    this.#events.seriesStarted(head, ladder)
    const steps: Step[] = []
    let stop: Stop | undefined
    for (const sessions of ladder) {
      this.#events.stepStarted(sessions)
      const step = await pool.step(index, scheme, sessions, this.#signal)
      if (!this.#signal.aborted || step.seconds >= USEFUL_S) this.#ended(steps, step)
      if (this.#signal.aborted) stop = INTERRUPTED
      else if (this.#plan.ladder === undefined || step.signatures === 0) stop = stopAfter(steps)
      if (stop !== undefined) break
    }
    const limited = this.#plan.ladder === undefined && limit < MAX_SESSIONS
    this.#finish(head, steps, stop ?? endOf(steps, { limited }))
  }

  async #raw({ hsm, work }: { hsm: Group['hsms'][number]; work: readonly RawWork[] }): Promise<void> {
    const limit = this.#hsms.get(hsm.name)?.sessionLimit ?? MAX_SESSIONS
    let running: { task: number; head: SeriesHead; steps: Step[] } | undefined
    const begin = (task: number): void => {
      const next = work[task]
      if (next === undefined) return
      running = { task, head: headOf('raw', [hsm.name], next.key, next.scheme), steps: [] }
      this.#events.seriesStarted(running.head, this.#plan.ladder ?? ladderUpTo(limit))
      this.#events.stepStarted(this.#plan.ladder?.[0] ?? 1)
    }
    begin(0)
    try {
      await measureRaw(
        this.#plan,
        { hsm, work },
        {
          signal: this.#signal,
          onProgress: (progress) => {
            if (running === undefined) return
            if ('step' in progress) {
              this.#ended(running.steps, progress.step)
              const next = nextRung(this.#plan.ladder, progress.step.sessions)
              if (next !== undefined) this.#events.stepStarted(next)
              return
            }
            this.#finish(running.head, running.steps, progress.stop)
            begin(progress.task + 1)
          },
        },
      )
    } catch (error) {
      if (!this.#signal.aborted && !(error instanceof SealgateError)) throw error
      if (running === undefined) return
      const text = error instanceof SealgateError ? error.message : INTERRUPTED.text
      const stop: Stop = this.#signal.aborted ? INTERRUPTED : { reason: 'gone', text }
      this.#finish(running.head, running.steps, stop)
      if (!this.#signal.aborted) this.#note(`raw: ${text}`)
    }
  }

  #ended(steps: Step[], step: Step): void {
    steps.push(step)
    this.#events.stepEnded(step)
  }

  #finish(head: SeriesHead, steps: readonly Step[], stop: Stop): void {
    const knee = kneeOf(steps)
    const series: Series = {
      ...head,
      steps: [...steps],
      knee: knee === undefined ? null : { sessions: knee.sessions, rate: knee.rate },
      stop,
    }
    if (stop.reason === 'gone' || stop.reason === 'interrupted') this.#complete = false
    if (steps.length === 0 && stop.reason === 'interrupted') return
    this.#series.push(series)
    this.#events.seriesEnded(series)
  }

  #learn(
    group: Group,
    { pool, asked, problems }: { pool: PoolBench; asked: number; problems: readonly HsmError[] },
  ): void {
    for (const { name, token, sessions, keys } of pool.hsms()) {
      const hsm = group.hsms.find((candidate) => candidate.name === name)
      if (hsm === undefined) continue
      this.#hsms.set(name, {
        name,
        module: hsm.module,
        token: token ?? null,
        sessions: hsm.sessions,
        sessionLimit: sessions.limit > 0 && sessions.limit < asked ? sessions.limit : null,
      })
      const problem = problems.find((candidate) => candidate.hsm === name)
      if (problem !== undefined && !keys.some(({ ready }) => ready)) this.#failed.set(name, problem)
    }
    for (const problem of problems) {
      this.#complete = false
      this.#note(problem.message)
    }
  }

  #wanted(schemes: readonly SignatureScheme[]): readonly SignatureScheme[] {
    const { schemes: wanted } = this.#plan
    return schemes.filter(({ name }) => wanted === undefined || wanted.has(name))
  }

  #noSchemes({ hsms }: Group): void {
    const asked = [...(this.#plan.schemes ?? [])].join(', ')
    this.#complete = false
    this.#note(`${namesOf(hsms)}: no key can do ${asked === '' ? 'any scheme' : asked}`)
  }

  /** @throws {SealgateError} `ERR_USAGE` for a ladder that the token cannot climb. */
  #ladder(limit: number, group: Group): readonly number[] {
    const { ladder } = this.#plan
    if (ladder === undefined) return ladderUpTo(limit)
    const tooMany = ladder.find((sessions) => sessions > limit)
    if (tooMany === undefined) return ladder
    throw new SealgateError(
      'ERR_USAGE',
      `--sessions ${tooMany}: ${namesOf(group.hsms)} gives ${limit} at most, besides the one that holds the login; the token's own limit is C_GetTokenInfo's ulMaxSessionCount`,
    )
  }

  #note(text: string): void {
    this.#notes.push(text)
    this.#events.note(text)
  }

  #report(startedAt: string): SignReport {
    const { secondsPerStep, warmUpSeconds, signing } = this.#plan
    return {
      format: SIGN_REPORT_FORMAT,
      version: SIGN_REPORT_VERSION,
      sealgate: packageVersion(),
      startedAt,
      endedAt: new Date().toISOString(),
      complete: this.#complete && !this.#signal.aborted,
      machine: machineFacts(),
      method: {
        secondsPerStep,
        warmUpSeconds,
        verify: signing.verify,
        hedge: signing.hedge,
        timeoutMs: signing.timeoutMs,
      },
      hsms: [...this.#hsms.values()],
      notes: this.#notes,
      series: this.#series,
    }
  }
}

function headOf(
  path: Series['path'],
  members: string[],
  { key, keyType }: BenchKey,
  { name }: SignatureScheme,
): SeriesHead {
  return { path, members, key: key.uri, keyType, scheme: name }
}

function namesList({ hsms }: Group): string[] {
  return hsms.map(({ name }) => name)
}

function namesOf(hsms: Group['hsms']): string {
  return hsms.map(({ name }) => name).join(' + ')
}

/** undefined: that was the last one that was asked for. */
function nextRung(ladder: readonly number[] | undefined, sessions: number): number | undefined {
  return ladder === undefined ? sessions * 2 : ladder.find((rung) => rung > sessions)
}

const INTERRUPTED: Stop = { reason: 'interrupted', text: 'the run was stopped' }
// Less says nothing.
const USEFUL_S = 0.5
