/**
 * The sealed set as a file: on a disk that processes share, in a directory on NFS, or in a mounted Kubernetes Secret.
 *
 * # Two writers
 *
 * A rename replaces a file, but cannot compare. So whoever replaces a set first claims the right to replace this very one,
 * by creating a file that is named after its digest; only one can. A claim that is old was left by somebody who died: it
 * stays where it is, and the next one in line is claimed. Nothing here needs more than exclusive creation and rename, which
 * NFS has too.
 */

import { hash, randomBytes } from 'node:crypto'
import { access, constants, open, readdir, rename, stat, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'

import { TicketsError } from '../errors.ts'
import { MAX_SEALED_BYTES } from './sealed-set.ts'
import type { Store } from './store.ts'

export class FileStore implements Store {
  readonly name: string
  readonly #file: string
  /** Since when something is under way that has taken too long. */
  #silentSinceMs: number | undefined

  constructor(file: string) {
    this.name = file
    this.#file = file
  }

  async read(): Promise<string | undefined> {
    return this.#inTime(() => this.#read())
  }

  async replace(before: string | undefined, after: string): Promise<boolean> {
    return this.#inTime(() => this.#replace(before, after))
  }

  async isWritable(): Promise<boolean> {
    return this.#inTime(() => this.#isWritable())
  }

  async close(): Promise<void> {}

  /**
   * A server of files that is gone answers nothing, for hours if it must be. One who waits is enough: each has one of the few
   * threads that this process has for files and names.
   */
  async #inTime<T>(work: () => Promise<T>): Promise<T> {
    const startedMs = performance.now()
    const tooLate = (): TicketsError => {
      const seconds = Math.round((performance.now() - (this.#silentSinceMs ?? startedMs)) / 1000)
      return this.#error('cannot be reached', new Error(`the place has not answered for ${seconds} s`))
    }
    if (this.#silentSinceMs !== undefined) throw tooLate()
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.#silentSinceMs = startedMs
        reject(tooLate())
      }, ANSWER_LIMIT_MS)
    })
    const working = work().finally(() => {
      clearTimeout(timer)
      this.#silentSinceMs = undefined
    })
    return Promise.race([working, late])
  }

  async #read(): Promise<string | undefined> {
    try {
      // By its name every time: in a mounted Secret that is a link to a link, which the kubelet turns to a new directory.
      // Whoever opens a FIFO waits for somebody who writes, perhaps for ever, and the end of the process waits for that.
      await using handle = await open(this.#file, constants.O_RDONLY | constants.O_NONBLOCK)
      if (!(await handle.stat()).isFile()) throw new Error('it is not a regular file')
      const bytes = Buffer.alloc(MAX_SEALED_BYTES + 1)
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, 0)
      return bytes.toString('utf8', 0, bytesRead)
    } catch (error) {
      if (codeOf(error) === 'ENOENT' && (await isThere(dirname(this.#file)))) return undefined
      throw this.#error('cannot be read', error)
    }
  }

  async #replace(before: string | undefined, after: string): Promise<boolean> {
    const draft = `${this.#file}.${randomBytes(6).toString('hex')}.new`
    let claims: readonly string[] = []
    try {
      await write(draft, after)
      const claimedMs = performance.now()
      const claimed = await this.#claim(before, draft)
      if (claimed === undefined) return false
      claims = claimed
      if ((await this.#read()) !== before || performance.now() - claimedMs > CLAIM_MS / 2) return false
      await rename(draft, this.#file)
      await syncDirectory(dirname(this.#file))
      return true
    } catch (error) {
      throw error instanceof TicketsError ? error : this.#error('cannot be written', error)
    } finally {
      for (const file of [draft, ...claims]) await unlink(file).catch(() => {})
    }
  }

  async #isWritable(): Promise<boolean> {
    const directory = dirname(this.#file)
    try {
      await access(directory, constants.W_OK)
      // The kubelet's: what anybody else writes there is gone with the next change of the Secret.
      return !(await readdir(directory)).includes('..data')
    } catch {
      return false
    }
  }

  /** @returns the claims to take away when all is done; undefined: somebody else is at it, or has done it. */
  async #claim(before: string | undefined, draft: string): Promise<readonly string[] | undefined> {
    const digest = hash('sha256', before ?? '').slice(0, 16)
    const claims: string[] = []
    for (;;) {
      const claim = `${this.#file}.${digest}.claim${claims.length}`
      claims.push(claim)
      try {
        await (await open(claim, 'wx')).close()
        return claims
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error
      }
      // Both times are of the file system's own clock.
      const [made, now] = await Promise.all([stat(claim).catch(() => undefined), stat(draft)])
      if (made === undefined || now.mtimeMs - made.mtimeMs < CLAIM_MS) return undefined
    }
  }

  #error(what: string, cause: unknown): TicketsError {
    const reason = cause instanceof Error ? cause.message : String(cause)
    return new TicketsError(
      'ERR_TICKETS_PLACE',
      `the shared ticket keys in ${this.#file} ${what}: ${reason}`,
      {
        cause,
      },
    )
  }
}

async function write(file: string, text: string): Promise<void> {
  await using handle = await open(file, 'wx', 0o644)
  // The umask of whoever rotates must not keep the proxies of other users from it: it is ciphertext.
  await handle.chmod(0o644)
  await handle.writeFile(text)
  await handle.sync()
}

async function syncDirectory(directory: string): Promise<void> {
  await using handle = await open(directory, 'r')
  await handle.sync()
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}

// Far longer than a write takes; a node that has died does not hold up the others for longer.
const CLAIM_MS = 30_000
const ANSWER_LIMIT_MS = 5000
