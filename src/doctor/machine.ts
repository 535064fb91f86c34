/** What the machine says of itself: read, not judged. Where a system does not say, the answer is undefined. */

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'

export interface Machine {
  readonly nowMs: number
  /** When this program was built or installed; it cannot be earlier now. */
  readonly builtMs: number
  /** Does a time service hold the clock? */
  readonly clockSynchronized: boolean | undefined
  readonly cores: number
  /** Of the control group, in cores: 1.5 for a quota of one and a half. */
  readonly coreQuota: number | undefined
  /** Soft limit of open files. Node has raised it to the hard one. */
  readonly openFiles: number | undefined
  /** As /proc/cpuinfo calls them. */
  readonly cpuFlags: ReadonlySet<string>
  /** `x64` or `arm64`. */
  readonly architecture: string
}

export function readMachine(): Machine {
  return {
    nowMs: Date.now(),
    builtMs: statSync(fileURLToPath(import.meta.url)).mtimeMs,
    clockSynchronized: clockSynchronized(),
    cores: availableParallelism(),
    coreQuota: coreQuota(readText('/sys/fs/cgroup/cpu.max')),
    openFiles: openFiles(readText('/proc/self/limits')),
    cpuFlags: cpuFlags(readText('/proc/cpuinfo')),
    architecture: process.arch,
  }
}

/** cgroup v2: `150000 100000`, or `max 100000`. */
export function coreQuota(text: string | undefined): number | undefined {
  const [quota, period] = (text ?? '').trim().split(' ').map(Number)
  return quota === undefined || period === undefined || !(quota / period > 0) ? undefined : quota / period
}

/** proc(5), limits: `Max open files  1024  524288  files`. */
export function openFiles(text: string | undefined): number | undefined {
  const soft = /^Max open files\s+(\S+)/m.exec(text ?? '')?.[1]
  if (soft === 'unlimited') return Number.POSITIVE_INFINITY
  return soft === undefined ? undefined : Number(soft)
}

/** `flags` on x86, `Features` on Arm. */
export function cpuFlags(text: string | undefined): ReadonlySet<string> {
  const line = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(text ?? '')?.[1]
  return new Set(line === undefined || line === '' ? [] : line.split(' '))
}

/** systemd knows, and so does its time service alone; others are not asked. */
function clockSynchronized(): boolean | undefined {
  if (existsSync('/run/systemd/timesync/synchronized')) return true
  try {
    const answer = execFileSync('timedatectl', ['show', '--property=NTPSynchronized', '--value'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 2000,
    }).trim()
    return answer === 'yes' ? true : answer === 'no' ? false : undefined
  } catch {
    return undefined
  }
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
