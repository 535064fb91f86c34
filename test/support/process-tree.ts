/** Processes and their children, from /proc. */

import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

/** All processes below this one, at this moment. */
export function descendants(pid: number): number[] {
  const children = childrenByParent().get(pid) ?? []
  return children.flatMap((child) => [child, ...descendants(child)])
}

/** Waits until all of them have ended. @throws with those that have not by then. */
export async function untilEnded(pids: readonly number[], timeoutMs: number): Promise<void> {
  const deadline = Date.now() + timeoutMs
  let left = pids.filter(isRunning)
  while (left.length > 0) {
    if (Date.now() > deadline) throw new Error(`still running: ${left.map(describe).join(', ')}`)
    await delay(POLL_MS)
    left = left.filter(isRunning)
  }
}

function childrenByParent(): Map<number, number[]> {
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const parent = Number(statusField(Number(name), 'PPid') ?? 0)
    children.set(parent, [...(children.get(parent) ?? []), Number(name)])
  }
  return children
}

/** A zombie has ended; only its parent has not looked yet. */
function isRunning(pid: number): boolean {
  const state = statusField(pid, 'State')
  return state !== undefined && !state.startsWith('Z')
}

/** A field of /proc/PID/status; undefined when the process is gone. */
function statusField(pid: number, name: string): string | undefined {
  try {
    return new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  } catch {
    return undefined
  }
}

function describe(pid: number): string {
  return `${pid} (${statusField(pid, 'Name')})`
}

const POLL_MS = 20
