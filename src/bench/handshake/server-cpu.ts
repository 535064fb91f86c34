/** CPU time of a server on this machine: a process with its threads and children, from /proc (Linux). */

import { readdirSync, readFileSync } from 'node:fs'

import { SealgateError } from '../../errors.ts'

/** @returns seconds since its start. @throws {SealgateError} `ERR_USAGE` when there is no such process, or no /proc. */
export function cpuSecondsOf(root: number): number {
  const stats = readAll()
  if (!stats.has(root)) {
    throw new SealgateError(
      'ERR_USAGE',
      `--server-pid ${root}: there is no such process here (it works on Linux, for a server on this machine)`,
    )
  }
  const tree = [root]
  let ticks = 0
  for (const pid of tree) {
    ticks += stats.get(pid)?.ticks ?? 0
    for (const [child, { parent }] of stats) if (parent === pid) tree.push(child)
  }
  return ticks / TICKS_PER_SECOND
}

function readAll(): ReadonlyMap<number, { readonly parent: number; readonly ticks: number }> {
  return new Map(
    processes().flatMap((pid) => {
      const stat = readStat(pid)
      return stat === undefined ? [] : [[pid, stat] as const]
    }),
  )
}

function processes(): readonly number[] {
  try {
    return readdirSync('/proc').map(Number).filter(Number.isInteger)
  } catch {
    return []
  }
}

/** proc(5): behind the name in parentheses come state, ppid, …, utime, stime, and those of ended children. */
function readStat(pid: number): { parent: number; ticks: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0)
    return { parent: Number(fields[1]), ticks }
  } catch {
    return undefined // it has ended meanwhile
  }
}

// USER_HZ, the same on all of Linux's architectures that Node runs on.
const TICKS_PER_SECOND = 100
