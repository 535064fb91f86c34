// @ts-check
/** Which machine, which versions, and how much of the machine others took while we measured. */

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { cpuSeconds } from './process-tree.mjs'

/** @returns {string} one line for the report */
export function describeMachine() {
  const processors = cpus()
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`
  return [
    `${processors[0]?.model ?? 'unknown CPU'}, ${processors.length} cores, ${memory}, Linux ${release()}`,
    `Node ${process.version} with OpenSSL ${process.versions.openssl}`,
    `system ${firstLine('openssl', ['version']).replace(/\s*\(.*/, '')}`,
    firstLine('nginx', ['-v']).replace('nginx version: ', ''),
    firstLine('hitch', ['--version']),
    firstLine('sh', ['-c', 'stunnel -version 2>&1 | grep ^stunnel']).replace(/ on .*/, ''),
    firstLine('wrk', ['-v']).replace(/ \[.*/, ''),
    `SoftHSM ${firstLine('softhsm2-util', ['--version'])}`,
  ].join('; ')
}

/**
 * @typedef {object} Noise shares of the machine's CPU time during a measurement, 0 to 1
 * @property {number} steal taken by the hypervisor for other guests
 * @property {number} foreign used by processes that this bench did not start
 */

/**
 * Begins to watch; the function returned tells what happened since.
 *
 * @returns {() => Noise}
 */
export function watchNoise() {
  const before = readCpuTotals()
  const ownBefore = cpuSeconds(process.pid)
  return () => {
    const after = readCpuTotals()
    const total = after.total - before.total
    if (total <= 0) return { steal: 0, foreign: 0 }
    // Ticks of /proc/stat are those of cpuSeconds: hundredths of a second.
    const own = (cpuSeconds(process.pid) - ownBefore) * 100
    return {
      steal: (after.steal - before.steal) / total,
      foreign: Math.max(0, (after.busy - before.busy - own) / total),
    }
  }
}

/** First line of /proc/stat: user nice system idle iowait irq softirq steal guest guest_nice, in ticks. */
function readCpuTotals() {
  const fields = (readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? '')
    .split(/\s+/)
    .slice(1, 9)
    .map(Number)
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = fields
  const busy = user + nice + system + irq + softirq
  return { busy, steal, total: busy + idle + iowait + steal }
}

/**
 * Some tools print their version on stderr, and wrk exits with 1 after doing so.
 *
 * @param {string} command
 * @param {string[]} args
 */
function firstLine(command, args) {
  const output = execFileSync('sh', ['-c', '"$@" 2>&1 || true', 'sh', command, ...args], { encoding: 'utf8' })
  return output.split('\n')[0]?.trim() ?? ''
}
