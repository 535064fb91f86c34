/**
 * One writer per file. Advisory: it keeps two Sealgates apart, not an editor.
 *
 * The lock is a Unix socket beside the file that its owner listens on. The kernel closes it with the process, however that
 * ends, so a lock that nobody answers on is what a dead process has left. A number of a process in a file could by now be
 * anybody's, and in a container always is.
 */

import { type FileHandle, open, unlink } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { basename, dirname } from 'node:path'

import { AuditError } from '../errors.ts'

export class FileLock {
  readonly #server: Server
  readonly #directory: FileHandle

  private constructor(server: Server, directory: FileHandle) {
    this.#server = server
    this.#directory = directory
  }

  /** @throws {AuditError} `ERR_AUDIT_LOCKED` when a live process has it; {Error} of node:net or node:fs. */
  static async acquire(file: string): Promise<FileLock> {
    const path = `${file}.lock`
    // The name of a socket has 107 bytes at most (unix(7)); through its directory's descriptor it is short enough.
    const directory = await open(dirname(path), 'r')
    const name = process.platform === 'linux' ? `/proc/self/fd/${directory.fd}/${basename(path)}` : path
    try {
      const server = (await listen(name)) ?? (await takeOver(name))
      if (server !== undefined) return new FileLock(server, directory)
      throw new AuditError(
        'ERR_AUDIT_LOCKED',
        `the audit log ${file} is being written by another Sealgate, which holds ${path}: stop that one, or give this one a file of its own`,
      )
    } catch (error) {
      await directory.close()
      throw error
    }
  }

  async release(): Promise<void> {
    // libuv removes the name it was bound under, so the descriptor in the name has to live as long.
    await new Promise((resolve) => this.#server.close(resolve))
    await this.#directory.close()
  }
}

/** @returns undefined when the name is taken. */
function listen(name: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', (error: Error & { code?: string }) =>
      error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error),
    )
    server.listen(name, () => {
      server.unref()
      resolve(server)
    })
  })
}

/** @returns undefined when its owner lives. */
async function takeOver(name: string): Promise<Server | undefined> {
  if (await answers(name)) return undefined
  await unlink(name).catch(() => {})
  return listen(name)
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
