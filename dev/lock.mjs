// @ts-check
/** One set-up at a time in a checkout: two compilers in one folder break each other's work. */

import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/**
 * Waits until no other process is inside, then runs.
 *
 * @template T
 * @param {string} file holds the process id of who is inside; one whose process is gone counts for nothing
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function alone(file, work) {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  while (!tryLock(file)) await delay(POLL_MS)
  try {
    return await work()
  } finally {
    rmSync(file, { force: true })
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
  } catch {
    return false
  }
}

/** @param {string} file */
function tryLock(file) {
  // link() makes the file appear with its content, or refuses.
  const mine = `${file}.building-${process.pid}`
  writeFileSync(mine, String(process.pid))
  try {
    linkSync(mine, file)
    return true
  } catch {
    const holder = readHolder(file)
    if (holder !== undefined && !isRunning(holder)) rmSync(file, { force: true })
    return false
  } finally {
    rmSync(mine)
  }
}

/**
 * @param {string} file
 * @returns {number | undefined} undefined: it has just gone
 */
function readHolder(file) {
  try {
    const pid = Number(readFileSync(file, 'utf8'))
    return pid > 0 ? pid : undefined
  } catch {
    return undefined
  }
}

const POLL_MS = 100
