// @ts-check
/** One set-up at a time in a checkout: two compilers in one folder break each other's work. */

import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/**
 * Waits until no other process is inside, then runs.
 *
 * @template T
 * @param {string} file names the process that is inside; one that is gone counts for nothing
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function alone(file, work) {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  let told = false
  while (!(await tryLock(file))) {
    if (!told) {
      const pid = Number.parseInt(readHolder(file) ?? '', 10)
      told = isRunning(pid)
      if (told) process.stdout.write(`… waiting for process ${pid}, which holds ${file}\n`)
    }
    await delay(POLL_MS)
  }
  try {
    return await work()
  } finally {
    if (readHolder(file) === nameOf(process.pid)) rmSync(file, { force: true })
  }
}

/**
 * Does a process with this id run?
 *
 * @param {number} pid
 */
export function isRunning(pid) {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return codeOf(error) === 'EPERM' // another user's
  }
}

/**
 * @param {string} file
 * @returns {Promise<boolean>}
 */
async function tryLock(file) {
  const me = nameOf(process.pid)
  const mine = `${file}.building-${process.pid}`
  writeFileSync(mine, me)
  try {
    // link() makes the file appear with its content, or refuses.
    linkSync(mine, file)
    return true
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
    const holder = readHolder(file)
    if (holder === undefined || isAlive(holder)) return false
    // Of several that see the same dead holder the last to rename has it; a removal would let in whoever comes between.
    renameSync(mine, file)
    await delay(SETTLE_MS)
    return readHolder(file) === me
  } finally {
    rmSync(mine, { force: true })
  }
}

/**
 * A process by its id and when it began: in a container, or after a reboot, the id alone is soon somebody else's.
 *
 * @param {number} pid
 */
function nameOf(pid) {
  return `${pid} ${startOf(pid)}`
}

/** @param {string} name */
function isAlive(name) {
  const pid = Number.parseInt(name, 10)
  return isRunning(pid) && name === nameOf(pid)
}

/**
 * Clock ticks since the machine's start; proc(5), behind the name in parentheses. Empty where there is no /proc.
 *
 * @param {number} pid
 */
function startOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return ''
  }
}

/**
 * @param {string} file
 * @returns {string | undefined} undefined: it has just gone
 */
function readHolder(file) {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** @param {unknown} error */
function codeOf(error) {
  return error instanceof Error && 'code' in error ? error.code : undefined
}

const POLL_MS = 100
/** Longer than from reading a holder to the rename. */
const SETTLE_MS = 200
