/** A claim about latency says something on a machine that had its processors, and virtual ones are taken away at times. */

import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

export interface Round {
  readonly during: { readonly p99Ms: number }
  /** The most that p99 may be. */
  readonly boundMs: number
  /** Share of the machine's processor time that the hypervisor gave to others meanwhile, 0 to 1. */
  readonly stolen: number
}

/**
 * Plays a round, and again, four times at most and ever later, when it was too slow and the hypervisor has taken what may have made it so.
 * A round that is too slow on a machine that had its processors is the last: the claim is the same for all.
 */
export async function onOwnProcessors<R extends Round>(play: (again: number) => Promise<R>): Promise<R> {
  for (let again = 0; ; again++) {
    const round = await play(again)
    const { during, boundMs, stolen } = round
    const pauseMs = PAUSES_MS[again]
    if (during.p99Ms <= boundMs || stolen < NOTICEABLE || pauseMs === undefined) return round
    const taken = `${(stolen * 100).toFixed(1)} % of the processors were taken away`
    process.stdout.write(`chaos: once more: p99 ${during.p99Ms} ms, bound ${boundMs} ms, while ${taken}\n`)
    await delay(pauseMs) // a neighbour's burst of work may be over then
  }
}

/** Begins to watch; the function returned tells the share that the hypervisor took since. 0 where no kernel tells it. */
export function watchStolen(): () => number {
  const before = processorTicks()
  return () => {
    const after = processorTicks()
    if (after.total === before.total) return 0
    return Number(((after.stolen - before.stolen) / (after.total - before.total)).toFixed(4))
  }
}

/** proc_stat(5): user nice system idle iowait irq softirq steal, in ticks; what guests get is part of user. */
function processorTicks(): { readonly total: number; readonly stolen: number } {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n')
  const ticks = line.trim().split(/\s+/).slice(1, 9).map(Number)
  return { total: ticks.reduce((sum, each) => sum + each, 0), stolen: ticks[7] ?? 0 }
}

// One handshake of a hundred is late when 300 a second stand still for 50 ms and a little, twice as long as normal: of two processors,
// for five seconds, that is a hundredth.
const NOTICEABLE = 0.005
// Bursts of other machines were seen to last 40 s: rounds that follow at once would all fall into the same one.
const PAUSES_MS = [2_000, 5_000, 10_000, 20_000]
