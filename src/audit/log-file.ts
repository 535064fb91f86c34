/** The file that is written: appended to, never read, never shortened. */

import { constants } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'

export class LogFile {
  readonly path: string
  readonly #handle: FileHandle
  readonly #identity: { readonly dev: number; readonly ino: number }
  #size: number

  private constructor(path: string, handle: FileHandle, facts: { dev: number; ino: number; size: number }) {
    this.path = path
    this.#handle = handle
    this.#identity = { dev: facts.dev, ino: facts.ino }
    this.#size = facts.size
  }

  /** Creates it, for this user only, when it is not there. @throws {Error} of node:fs. */
  static async open(path: string): Promise<LogFile> {
    const { O_APPEND, O_CREAT, O_WRONLY, O_NOFOLLOW } = constants
    const handle = await open(path, O_APPEND | O_CREAT | O_WRONLY | O_NOFOLLOW, 0o600)
    try {
      return new LogFile(path, handle, await handle.stat())
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  /** Bytes in it. */
  get size(): number {
    return this.#size
  }

  /** @returns how many bytes were written, at least one; a disk that becomes full takes a part. @throws {Error} of node:fs. */
  async append(bytes: Uint8Array): Promise<number> {
    const { bytesWritten } = await this.#handle.write(bytes, 0, bytes.length, null)
    this.#size += bytesWritten
    return bytesWritten
  }

  /** @throws {Error} of node:fs. */
  sync(): Promise<void> {
    return this.#handle.datasync()
  }

  /** Does its path still lead to it? What is written to a file that was removed or moved is written for nobody. */
  async isInPlace(): Promise<boolean> {
    try {
      const { dev, ino } = await stat(this.path)
      return dev === this.#identity.dev && ino === this.#identity.ino
    } catch {
      return false
    }
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}
