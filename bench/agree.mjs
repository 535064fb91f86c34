// @ts-check
/**
 * Does `sealgate bench sign --path raw` say the same as raw-sign.c, which has no line in common with it?
 *
 * Usage: node bench/agree.mjs [ROW ...] [--sessions 1,2] [--pairs N] [--seconds N] [--warm-up N] [--quick]
 *
 * Both sign with the same key, and what counts is the ratio of what they say. Where this machine computes, they take turns of 50 ms: the
 * speed of a virtual machine changes by a third from one second to another, and so it does for both. Each has half of the machine then, and
 * says so in its figures. Where they wait for an HSM, one runs after the other.
 *
 * The exit status is 0 when all rows agree: not only the median of the ratios, but all of its 95 % interval is within 10 % of 1.
 */

import { parseArgs } from 'node:util'
import { compileRawSign, startBenchSign, startRawSign } from './agree/programs.mjs'
import { chooseRows } from './agree/rows.mjs'
import { createToken } from './agree/token.mjs'
import { takeTurns } from './agree/turns.mjs'
import { table } from './markdown.mjs'
import { watchNoise } from './measure/machine.mjs'
import { formatNumber, median, medianInterval } from './measure/statistics.mjs'
import { Workspace } from './setup/workspace.mjs'

const TOLERANCE = 0.1
/** Share of the machine that others took; above it, a disagreement may be theirs. */
const NOISY = 0.05
/** What bench sign needs with half of a machine until it signs; raw-sign.c signs at once, and warms up for so much longer. */
const START_S = 2

try {
  await main(readArguments())
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}

/** @param {ReturnType<typeof readArguments>} settings */
async function main({ rows, ...settings }) {
  const workspace = new Workspace()
  try {
    const token = await createToken(workspace, [...new Set(rows.map(({ key }) => key))])
    const program = await compileRawSign(workspace.dir)
    const noise = watchNoise()
    /** @type {Comparison[]} */
    const comparisons = []
    for (const row of rows) {
      const hsm = await token.hsm(row.delayMs)
      for (const sessions of settings.sessions ?? row.sessions) {
        const order = { ...settings, workspace, hsm, token, key: row.key, sessions }
        const measure = row.delayMs === 0 ? byTurns : oneAfterTheOther
        /** @type {Pair[]} */
        const pairs = []
        while (pairs.length < settings.pairs) pairs.push(await measure(program, order, pairs.length))
        const comparison = { row, sessions, pairs }
        comparisons.push(comparison)
        console.error(`${row.id}, ${sessions}: ${judge(comparison).text}`)
      }
    }
    console.log(toTable(comparisons).join('\n'))
    console.log(`\n${settings.pairs} pairs of ${settings.seconds} s; ${noiseText(noise())}`)
    if (comparisons.some((comparison) => !judge(comparison).agrees)) process.exitCode = 1
  } finally {
    await workspace.close()
  }
}

/**
 * @typedef {import('./agree/programs.mjs').Measured} Measured
 * @typedef {{ c: Measured, sealgate: Measured }} Pair
 * @typedef {{ row: import('./agree/rows.mjs').Row, sessions: number, pairs: readonly Pair[] }} Comparison
 */

/**
 * @param {string} program
 * @param {import('./agree/programs.mjs').Order} order
 * @returns {Promise<Pair>}
 */
async function byTurns(program, order) {
  // Half of the time is the other's.
  const shared = { ...order, warmUp: 2 * order.warmUp, seconds: 2 * order.seconds }
  const sealgate = startBenchSign(shared)
  const c = startRawSign(program, { ...shared, warmUp: shared.warmUp + START_S })
  const both = Promise.all([c.measured, sealgate.measured])
  const [ofC, ofSealgate] = await takeTurns([c.pid, sealgate.pid], both)
  return { c: ofC, sealgate: ofSealgate }
}

/**
 * @param {string} program
 * @param {import('./agree/programs.mjs').Order} order
 * @param {number} before pairs: each goes first half of the time, for a machine may become slower
 * @returns {Promise<Pair>}
 */
async function oneAfterTheOther(program, order, before) {
  if (before % 2 === 0) {
    const c = await startRawSign(program, order).measured
    return { c, sealgate: await startBenchSign(order).measured }
  }
  const sealgate = await startBenchSign(order).measured
  return { c: await startRawSign(program, order).measured, sealgate }
}

/** @param {Comparison} comparison */
function judge({ pairs }) {
  const ratios = pairs.map(({ c, sealgate }) => sealgate.perSecond / c.perSecond)
  const ratio = median(ratios)
  const { low, high } = medianInterval(ratios)
  const agrees = isNear(low) && isNear(high)
  const verdict = agrees ? 'agree' : isNear(ratio) ? 'unclear' : 'DISAGREE'
  const interval = `${low.toFixed(3)}–${high.toFixed(3)}`
  return { agrees, ratio, interval, verdict, text: `${ratio.toFixed(3)} (${interval}): ${verdict}` }
}

/** @param {number} ratio */
function isNear(ratio) {
  return Math.abs(ratio - 1) <= TOLERANCE
}

/** @param {readonly Comparison[]} comparisons */
function toTable(comparisons) {
  const head = ['key', 'C_Sign', 'sessions', 'raw-sign.c/s', 'bench sign/s', 'ratio', '95 %', 'p50 µs', '']
  /** @type {('left' | 'right')[]} */
  const alignment = ['left', 'right', 'right', 'right', 'right', 'right', 'right', 'right', 'left']
  const body = comparisons.map((comparison) => {
    const { row, sessions, pairs } = comparison
    const { ratio, interval, verdict } = judge(comparison)
    const [c, sealgate] = [pairs.map((pair) => pair.c), pairs.map((pair) => pair.sealgate)]
    const rates = [c, sealgate].map((side) => formatNumber(median(side.map(({ perSecond }) => perSecond))))
    const p50s = [c, sealgate].map((side) => formatNumber(median(side.map(({ p50Ms }) => p50Ms * 1000))))
    const delayed = row.delayMs === 0 ? '' : `+ ${row.delayMs} ms`
    return [
      row.key.type,
      delayed,
      String(sessions),
      ...rates,
      ratio.toFixed(3),
      interval,
      p50s.join(' / '),
      verdict,
    ]
  })
  return table(head, alignment, body)
}

/** @param {import('./measure/machine.mjs').Noise} noise */
function noiseText({ steal, foreign }) {
  const taken = `hypervisor ${formatNumber(steal * 100)} %, other processes ${formatNumber(foreign * 100)} %`
  const advice = steal + foreign > NOISY ? '. The machine was not quiet: run it again' : ''
  return `taken by others: ${taken}${advice}`
}

function readArguments() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      sessions: { type: 'string' },
      pairs: { type: 'string' },
      seconds: { type: 'string' },
      'warm-up': { type: 'string' },
      quick: { type: 'boolean', default: false },
    },
  })
  const { quick } = values
  const sessions = values.sessions?.split(',').map(Number)
  const pairs = Number(values.pairs ?? (quick ? 1 : 10))
  const seconds = Number(values.seconds ?? (quick ? 0.2 : 2))
  const warmUp = Number(values['warm-up'] ?? (quick ? 0.1 : 0.5))
  if (![...(sessions ?? []), pairs].every((count) => Number.isInteger(count) && count > 0)) {
    throw new Error('--sessions and --pairs take whole numbers from 1')
  }
  if (!(seconds > 0 && warmUp > 0)) throw new Error('--seconds and --warm-up take numbers above 0')
  return { rows: chooseRows(positionals), sessions, pairs, seconds, warmUp }
}
