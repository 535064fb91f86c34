/**
 * One writer per file. Advisory: it keeps two Sealgates apart, not an editor.
 *
 * The lock is a Unix socket beside the file that its owner listens on. The kernel closes it with the process, however that
 * ends, so a lock that nobody answers on is what a dead process has left. A number of a process in a file could by now be
 * anybody's, and in a container always is.
 *
 * Between seeing that nobody answers and removing what is there, somebody else may have taken over, and a lock that is
 * held would be removed. So nobody removes a lock. Who wants it
 *
 *   1. listens on a name of its own, its claim;
 *   2. then looks for other claims, and goes on when no live one is left;
 *   3. then looks whether the owner of the lock answers, and if not, renames its claim to the lock.
 *
 * Of two that want it, the later one to listen finds in 2 the claim of the other or in 3 its lock, as each listens before it
 * looks, and a rename leaves no moment with neither. A claim is never used again, so that of a dead process can be
 * removed at any time. One that was removed because its owner did not listen yet cannot be renamed: that one begins again.
 */

import { randomBytes } from 'node:crypto'
import { type FileHandle, lstat, open, readdir, rename, unlink } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

import { AuditError } from '../errors.ts'

interface Held {
  readonly server: Server
  readonly inode: number
}

export class FileLock {
  readonly #held: Held
  readonly #lock: string
  readonly #directory: FileHandle

  private constructor(held: Held, lock: string, directory: FileHandle) {
    this.#held = held
    this.#lock = lock
    this.#directory = directory
  }

  /** @throws {AuditError} `ERR_AUDIT_LOCKED` when a live process has it or is before us; {Error} of node:net or node:fs. */
  static async acquire(file: string): Promise<FileLock> {
    const directory = await open(dirname(file), 'r')
    // The name of a socket has 107 bytes at most (unix(7)); through its directory's descriptor it is short enough.
    const place = process.platform === 'linux' ? `/proc/self/fd/${directory.fd}` : dirname(file)
    try {
      const taken = await take(place, basename(file))
      if (typeof taken !== 'string') return new FileLock(taken, join(place, lockName(file)), directory)
      throw new AuditError(
        'ERR_AUDIT_LOCKED',
        `the audit log ${file} is being written by another Sealgate, which holds ${join(dirname(file), taken)}: stop that one, or give this one a file of its own`,
      )
    } catch (error) {
      await directory.close()
      throw error
    }
  }

  async release(): Promise<void> {
    // While we answer, only a person can have put another one here; once we do not, the next owner may have.
    if ((await inodeOf(this.#lock).catch(() => undefined)) === this.#held.inode) {
      await unlink(this.#lock).catch(() => {})
    }
    await close(this.#held.server)
    // libuv removes the name it was bound under, the claim's, so the descriptor in that name has to live as long.
    await this.#directory.close()
  }
}

/** @returns the name of what a live process holds, when it is not for us. */
async function take(place: string, base: string): Promise<Held | string> {
  for (let tries = TRIES; ; tries--) {
    const claim = `.${base}.${randomBytes(CLAIM_BYTES).toString('hex')}${SUFFIX}`
    const server = await listen(join(place, claim))
    try {
      const other = await ahead(place, base, claim)
      if (other === undefined) {
        const inode = await inodeOf(join(place, claim))
        await rename(join(place, claim), join(place, lockName(base)))
        return { server, inode }
      }
      await close(server)
      return other
    } catch (error) {
      await close(server)
      const removed = error instanceof Error && 'code' in error && error.code === 'ENOENT'
      if (!removed || tries <= 1) throw error
    }
  }
}

/** @returns the name of what a live process holds; undefined: it is our turn. */
async function ahead(place: string, base: string, own: string): Promise<string | undefined> {
  const limitMs = performance.now() + TURN_LIMIT_MS
  for (;;) {
    const [first] = (await liveClaims(place, base, own)).toSorted()
    if (first === undefined) break
    // The lowest waits until the others have given way, or one has the lock. If all gave way, nobody would get it.
    if (first < own || performance.now() > limitMs) return first
    await delay(TURN_PAUSE_MS)
  }
  // Last: a claim that was there a moment ago may be the lock by now.
  return (await answers(join(place, lockName(base)))) ? lockName(base) : undefined
}

/** Of others. Removes those of dead processes. */
async function liveClaims(place: string, base: string, own: string): Promise<readonly string[]> {
  const live: string[] = []
  for (const name of await readdir(place)) {
    if (name === own || !isClaim(name, base)) continue
    if (await answers(join(place, name))) live.push(name)
    else await unlink(join(place, name)).catch(() => {})
  }
  return live
}

function isClaim(name: string, base: string): boolean {
  const start = `.${base}.`
  if (!name.startsWith(start) || !name.endsWith(SUFFIX)) return false
  return CLAIM.test(name.slice(start.length, -SUFFIX.length))
}

function lockName(file: string): string {
  return `${basename(file)}${SUFFIX}`
}

async function inodeOf(path: string): Promise<number> {
  return (await lstat(path)).ino
}

function listen(name: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', reject)
    server.listen(name, () => {
      server.unref()
      resolve(server)
    })
  })
}

function close(server: Server): Promise<unknown> {
  return new Promise((resolve) => server.close(resolve))
}

function answers(name: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(name)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    // ECONNREFUSED: nobody listens. EACCES: it is another user's, and alive as far as we can know.
    socket.once('error', (error: Error & { code?: string }) =>
      resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'),
    )
  })
}

const SUFFIX = '.lock'
const CLAIM_BYTES = 4
const CLAIM = /^[0-9a-f]{8}$/
/** A claim can be removed only in the microseconds before its owner listens. */
const TRIES = 10
/** A claim is there for milliseconds, unless its process was stopped in them. */
const TURN_LIMIT_MS = 2000
const TURN_PAUSE_MS = 5
