/**
 * The lock on a real file system, with sockets that killed processes have left.
 *
 * Who finds such a one takes it over, and so does another who has found it at the same time.
 */

import { spawnSync } from 'node:child_process'
import { linkSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'

import { FileLock } from '../../../src/audit/file-lock.ts'

let directory: string
let file: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sealgate-lock-'))
  file = join(directory, 'audit.jsonl')
})
afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

test('one of several that start at the same time gets the lock, also where a crash has left one', async () => {
  const left = socketOfKilledProcess()
  const owners: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    if (round % 4 !== 0) linkSync(left, `${file}.lock`)
    const starts = await Promise.allSettled(
      Array.from({ length: 2 + (round % 3) }, async () => {
        // Pacing: each from a timer of its own, so that they meet at different steps.
        await delay(1)
        return FileLock.acquire(file)
      }),
    )

    const locks = starts.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []))
    const refusals = starts.flatMap((start) => (start.status === 'rejected' ? [start.reason.code] : []))
    owners.push(locks.length)
    expect(new Set(refusals)).toEqual(new Set(['ERR_AUDIT_LOCKED']))
    expect(readdirSync(directory).toSorted()).toEqual(['audit.jsonl.lock', 'left'])
    for (const lock of locks) await lock.release()
    expect(readdirSync(directory)).toEqual(['left'])
  }

  expect(owners).toEqual(Array.from({ length: ROUNDS }, () => 1))
})

test('a process that was killed while it took the lock holds nobody up, and leaves nothing', async () => {
  const left = socketOfKilledProcess()
  linkSync(left, `${file}.lock`)
  for (const id of ['00000000', 'ffffffff']) linkSync(left, claim(id))
  rmSync(left)

  const lock = await FileLock.acquire(file)

  expect(readdirSync(directory)).toEqual(['audit.jsonl.lock'])
  await lock.release()
  expect(readdirSync(directory)).toEqual([])
})

test('a live one that takes the lock is waited for or given way to, by the order of their names', async () => {
  const first = await listening(claim('00000000'))
  await expect(FileLock.acquire(file)).rejects.toMatchObject({
    code: 'ERR_AUDIT_LOCKED',
    message: expect.stringContaining(claim('00000000')),
  })
  first.close()

  const last = await listening(claim('ffffffff'))
  const waiting = FileLock.acquire(file)
  expect(await Promise.race([waiting, delay(100, 'waits')])).toBe('waits')
  last.close()
  await (await waiting).release()
  expect(readdirSync(directory)).toEqual([])
})

test('one that was stopped while it took the lock is waited for in vain, and named', async () => {
  const stopped = await listening(claim('ffffffff'))

  await expect(FileLock.acquire(file)).rejects.toMatchObject({
    code: 'ERR_AUDIT_LOCKED',
    message: expect.stringContaining(claim('ffffffff')),
  })

  stopped.close()
  expect(readdirSync(directory)).toEqual([])
})

test('the lock of another log in the same directory is another one', async () => {
  const lock = await FileLock.acquire(file)
  const other = await FileLock.acquire(join(directory, 'keys-audit.jsonl'))

  await expect(FileLock.acquire(file)).rejects.toMatchObject({ code: 'ERR_AUDIT_LOCKED' })
  await lock.release()
  await expect(FileLock.acquire(join(directory, 'keys-audit.jsonl'))).rejects.toMatchObject({
    code: 'ERR_AUDIT_LOCKED',
  })
  await other.release()
  expect(readdirSync(directory)).toEqual([])
})

test('who gives back a lock that was removed by hand leaves that of the next owner alone', async () => {
  const removed = await FileLock.acquire(file)
  rmSync(`${file}.lock`)
  const lock = await FileLock.acquire(file)

  await removed.release()

  await expect(FileLock.acquire(file)).rejects.toMatchObject({ code: 'ERR_AUDIT_LOCKED' })
  await lock.release()
  expect(readdirSync(directory)).toEqual([])
})

function claim(id: string): string {
  return join(directory, `.audit.jsonl.${id}.lock`)
}

/** Nobody will ever listen on it; links to it are sockets of the same kind. */
function socketOfKilledProcess(): string {
  const path = join(directory, 'left')
  const script =
    "require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))"
  const { signal } = spawnSync(process.execPath, ['-e', script, path])
  expect(signal).toBe('SIGKILL')
  return path
}

function listening(path: string): Promise<Server> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy()).listen(path, () => resolve(server))
  })
}

// The gap between a look and a removal is hit in some of a hundred.
const ROUNDS = 150
