/** What a row of the ring measured: one line of output, and one entry in .sealgate/chaos.json to quote from. */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Handshake } from '../../support/handshake-load.ts'
import { checkout } from '../../support/npm-start.ts'

/** From when to when, as `nowMs` tells it. */
export interface Span {
  readonly fromMs: number
  readonly toMs: number
}

export interface Figures {
  readonly handshakes: number
  readonly failed: number
  readonly p99Ms: number
  readonly maxMs: number
  /** How late the client itself began one, at most: as long as the machine stood still, if nobody else did. */
  readonly lateMs: number
}

/** Of every handshake that was under way at some time in one of the spans. */
export function figures(each: readonly Handshake[], ...spans: readonly Span[]): Figures {
  const chosen = each.filter(({ intendedMs, endedMs }) =>
    spans.some(({ fromMs, toMs }) => endedMs >= fromMs && intendedMs <= toMs),
  )
  const latencies = chosen
    .filter(({ failure }) => failure === undefined)
    .map(({ intendedMs, endedMs }) => endedMs - intendedMs)
    .sort((a, b) => a - b)
  return {
    handshakes: latencies.length,
    failed: chosen.length - latencies.length,
    p99Ms: round(latencies[Math.ceil(latencies.length * 0.99) - 1] ?? Number.NaN),
    maxMs: round(latencies.at(-1) ?? Number.NaN),
    lateMs: round(chosen.reduce((most, { intendedMs, begunMs }) => Math.max(most, begunMs - intendedMs), 0)),
  }
}

/** The first second of a fault, in which everything that has to be found out is found out. */
export function onset({ fromMs }: Span): Span {
  return { fromMs, toMs: fromMs + 1_000 }
}

/**
 * What a bound of "n × normal" is measured against.
 *
 * Normal is a few milliseconds, and on a machine with two cores for client, proxy and HSMs a neighbour's time slice is
 * as long. A floor of 25 ms leaves room for a few slices, and is still far below what trouble costs where it is not
 * dealt with: the deadline of 2 s, a hedge of 200 ms, a host's restart.
 */
export function normalMs({ p99Ms }: Figures): number {
  return Math.max(p99Ms, 25)
}

/** @param row as the table says it. */
export function record(row: string, measured: Readonly<Record<string, unknown>>): void {
  const words = Object.entries(measured).map(([name, value]) => `${name} ${JSON.stringify(value)}`)
  process.stdout.write(`chaos: ${row}: ${words.join(', ').replaceAll('"', '')}\n`)
  mkdirSync(dirname(REPORT), { recursive: true })
  writeFileSync(REPORT, `${JSON.stringify({ ...reported(), [row]: measured }, null, 2)}\n`)
}

function reported(): Record<string, unknown> {
  try {
    return JSON.parse(readFileSync(REPORT, 'utf8'))
  } catch {
    return {} // the first row that is recorded here
  }
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10
}

const REPORT = join(checkout, '.sealgate', 'chaos.json')
