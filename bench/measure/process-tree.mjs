// @ts-check
/**
 * CPU time and memory of a whole program: a process, its threads, its children, and their children.
 *
 * CPU: utime + stime of each process (all threads, ended ones included) plus cutime + cstime (children that
 * have ended and were waited for), proc(5). A child that ended between two readings is therefore counted by
 * its parent, and the sum never goes backwards as long as the root lives.
 */

import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

/** Units of the times in /proc, a second; 100 nearly everywhere. */
const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))

/**
 * @param {number} root
 * @returns {number} seconds of CPU time spent by the tree so far
 */
export function cpuSeconds(root) {
  const stats = readAllStats()
  let ticks = 0
  for (const pid of descendants(root, stats)) ticks += stats.get(pid)?.ticks ?? 0
  return ticks / ticksPerSecond
}

/**
 * Proportional set size: pages shared with other processes are divided among those who share them, so the sum
 * over a program's processes counts each page once.
 *
 * @param {number} root
 * @returns {number} bytes
 */
export function pssBytes(root) {
  let kilobytes = 0
  for (const pid of processTree(root)) {
    const rollup = readProc(pid, 'smaps_rollup')
    kilobytes += Number(/^Pss:\s+(\d+) kB$/m.exec(rollup ?? '')?.[1] ?? 0)
  }
  return kilobytes * 1024
}

/**
 * @param {number} root
 * @returns {number[]} the root first; empty when it does not live
 */
export function processTree(root) {
  return descendants(root, readAllStats())
}

/** @typedef {{ parent: number, ticks: number }} Stat */

/** @returns {Map<number, Stat>} */
function readAllStats() {
  const stats = new Map()
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid)) continue
    const text = readProc(pid, 'stat')
    if (text !== undefined) stats.set(pid, parseStat(text))
  }
  return stats
}

/**
 * The second field is the command in parentheses and may hold anything; the rest follows the last one.
 * From there: [0] state, [1] ppid, … [11] utime, [12] stime, [13] cutime, [14] cstime.
 *
 * @param {string} text
 * @returns {Stat}
 */
function parseStat(text) {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0)
  return { parent: Number(fields[1]), ticks }
}

/**
 * @param {number} root
 * @param {Map<number, Stat>} stats
 */
function descendants(root, stats) {
  const found = stats.has(root) ? [root] : []
  for (const pid of found) {
    for (const [child, stat] of stats) if (stat.parent === pid) found.push(child)
  }
  return found
}

/**
 * @param {number} pid
 * @param {string} file
 * @returns {string | undefined} undefined when the process has gone
 */
function readProc(pid, file) {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return undefined
  }
}
