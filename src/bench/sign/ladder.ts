/**
 * How many sessions are tried, when that is enough, and where the knee is.
 *
 * Up to the knee more sessions bring more signatures; past it they only wait longer. By Little's law both show in one step: what
 * is in flight is rate × latency, so when the rate stays, the latency grows as the sessions do.
 */

import { sessionsText } from '../numbers.ts'
import type { Step, Stop } from '../report/sign-report.ts'

/** 1, 2, 4, … and the limit itself. */
export function ladderUpTo(limit: number): readonly number[] {
  const rungs: number[] = []
  for (let sessions = 1; sessions < limit; sessions *= 2) rungs.push(sessions)
  return [...rungs, limit]
}

/** @returns why no further step is made; undefined when the next one may still tell something. */
export function stopAfter(steps: readonly Step[]): Stop | undefined {
  const last = steps.at(-1)
  if (last === undefined) return undefined
  const failed = failuresOf(last)
  if (last.signatures === 0) {
    const why = commonest(last)
    return { reason: 'gone', text: `with ${sessionsText(last.sessions)} nothing was signed${why}` }
  }
  if (failed > last.signatures) {
    return {
      reason: 'failing',
      text: `with ${sessionsText(last.sessions)} ${failed} of ${failed + last.signatures} signatures failed${commonest(last)}`,
    }
  }
  const earlier = steps.slice(0, -1)
  const best = kneeOf(earlier)
  const [before] = earlier.slice(-1)
  if (best === undefined || before === undefined) return undefined
  // One step without growth may be chance, also when its rate has collapsed; two in a row are the knee.
  const flat = [last, before].every((step) => step.sessions > best.sessions && step.rate < best.rate * GROWTH)
  const slower = last.latencyMs.mean / Math.max(best.meanMs, Number.EPSILON)
  if (!flat || slower < SLOWER) return undefined
  return {
    reason: 'knee',
    text: `${sessionsText(last.sessions)} sign ${percent(last.rate / best.rate - 1)} compared with ${best.sessions}, and take ${slower.toFixed(1)} times as long`,
  }
}

/** The fewest sessions with 95 % of the best rate. */
export function kneeOf(
  steps: readonly Step[],
): { readonly sessions: number; readonly rate: number; readonly meanMs: number } | undefined {
  const bestRate = Math.max(0, ...steps.map(({ rate }) => rate))
  const knee = steps.find(({ rate, signatures }) => signatures > 0 && rate >= bestRate * NEAR_BEST)
  return knee && { sessions: knee.sessions, rate: knee.rate, meanMs: knee.latencyMs.mean }
}

/** The ladder has ended by itself. */
export function endOf(steps: readonly Step[], { limited }: { readonly limited: boolean }): Stop {
  const [before, last] = steps.slice(-2)
  const growth =
    before !== undefined && last !== undefined && last.rate >= before.rate * GROWTH
      ? `; the last step still brought ${percent(last.rate / before.rate - 1)}, the knee may be further up`
      : ''
  return limited
    ? {
        reason: 'token-limit',
        text: `the ladder ended at ${sessionsText(last?.sessions ?? 0)}, the token gives no more${growth}`,
      }
    : { reason: 'ladder-end', text: `no more steps were asked for${growth}` }
}

function failuresOf({ errors }: Pick<Step, 'errors'>): number {
  return Object.values(errors).reduce((sum, count) => sum + count, 0)
}

function commonest({ errors }: Step): string {
  const [most] = Object.entries(errors).sort(([, a], [, b]) => b - a)
  return most === undefined ? '' : `: ${most[0]}`
}

function percent(share: number): string {
  const value = Math.round(share * 100)
  return value === 0 ? 'no more' : `${value > 0 ? '+' : '−'}${Math.abs(value)} %`
}

// Less is within what repeated measurements differ by.
const GROWTH = 1.05
const NEAR_BEST = 0.95
const SLOWER = 1.3
