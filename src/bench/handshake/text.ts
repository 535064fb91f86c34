/** A run of `bench handshake` in words: what the listener did, what of it was the HSM, and who had to work. */

import { formatMs, formatNumber, formatSeconds, formatShare } from '../numbers.ts'
import { table } from '../report/text.ts'
import type { HandshakeReport, Kind } from './report.ts'

export function handshakeText(report: HandshakeReport): string {
  const { full, resumed, errors, firstError, notResumed } = report
  const rows = [...kindRow('full', full), ...kindRow('resumed', resumed)]
  const header = ['', 'handshakes/s', 'mean', 'p50', 'p90', 'p99', 'max', 'handshakes']
  const failed = Object.entries(errors).map(([name, count]) => `${count} × ${name}`)
  const lines = [
    ...(rows.length === 0 ? ['No handshake was completed.'] : []),
    ...(failed.length === 0 ? [] : [`failed: ${failed.join(', ')} (the first: ${firstError})`]),
    ...(notResumed === 0
      ? []
      : [`${notResumed} tickets were offered and not taken: those handshakes were full ones`]),
    ...hsmLines(report),
    ...cpuLines(report),
    ...generatorLines(report),
  ]
  return `${rows.length === 0 ? '' : `${table(header, rows)}\n`}${lines.map((line) => `${line}\n`).join('')}`
}

/** What is about to be done. */
export function loadText(
  report: Pick<HandshakeReport, 'target' | 'tls' | 'loop' | 'resumedShare'>,
  { processes, seconds }: { readonly processes: number; readonly seconds: number },
): string {
  const { target, tls, loop, resumedShare } = report
  const how =
    'perSecond' in loop
      ? `${formatNumber(loop.perSecond)} handshakes/s, open loop: latency counts from when each should have begun`
      : `${loop.connections} at a time, closed loop`
  return `${target}, TLS ${tls}, ${formatShare(resumedShare)} resumed, ${how}; ${processes} client ${processes === 1 ? 'process' : 'processes'}, ${formatSeconds(seconds)}`
}

function kindRow(name: string, { handshakes, perSecond, latencyMs }: Kind): string[][] {
  if (handshakes === 0) return []
  const { mean, p50, p90, p99, max } = latencyMs
  return [
    [name, formatNumber(perSecond), ...[mean, p50, p90, p99, max].map(formatMs), formatNumber(handshakes)],
  ]
}

function hsmLines({ hsm, full }: HandshakeReport): string[] {
  if (hsm === null) return []
  const failed =
    hsm.failed === 0 ? [] : [`${hsm.failed} signature attempts failed in an HSM (most are cured by another)`]
  if (hsm.signatures === 0 || full.handshakes === 0) return ['HSM: no signature in this time', ...failed]
  const whole = full.latencyMs.mean
  const others = hsm.signatures / full.handshakes
  const shared =
    others > 1 + SAME || others < 1 - SAME
      ? [
          `HSM: ${formatNumber(hsm.signatures)} signatures for ${formatNumber(full.handshakes)} full handshakes: others use this proxy too, or hedges were made`,
        ]
      : []
  return [
    `HSM: of ${formatMs(whole)} mean latency of a full handshake, ${formatMs(hsm.signMs)} (${formatShare(hsm.signMs / whole)}) in the HSM, ${formatMs(hsm.waitMs)} (${formatShare(hsm.waitMs / whole)}) waiting for one with room`,
    ...shared,
    ...failed,
  ]
}

function cpuLines({ generator, server }: HandshakeReport): string[] {
  const micros = (value: number | null): string => (value === null ? '–' : `${formatNumber(value)} µs`)
  const own = `CPU per handshake: ${micros(generator.cpuMicrosPerHandshake)} in this load generator`
  return [
    server === null
      ? `${own} (the server's with --server-pid)`
      : `${own}, ${micros(server.cpuMicrosPerHandshake)} in the server`,
  ]
}

function generatorLines({ generator }: HandshakeReport): string[] {
  const { busiest, lateStartP99Ms, skipped, hadTimeToSpare, processes } = generator
  const late = lateStartP99Ms === null ? '' : `, starts late by ${formatMs(lateStartP99Ms)} at most (p99)`
  if (hadTimeToSpare)
    return [
      `load generator: not the bottleneck, its busiest process took ${formatShare(busiest)} of a processor${late}`,
    ]
  const left = skipped === 0 ? '' : `, ${skipped} handshakes not begun at all`
  return [
    `WARNING: the load generator did not keep up: its busiest process took ${formatShare(busiest)} of a processor${late}${left}.`,
    `  The server can do more, and faster, than this says. More processes (--processes ${processes * 2}), on a machine of their own, help.`,
  ]
}

// Some are in flight when it begins, and when it ends.
const SAME = 0.1
