/**
 * Responses on disk, so that a restart needs no responder. Nothing in a file is believed: whoever reads it verifies
 * it anew.
 */

import { randomBytes } from 'node:crypto'
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../log.ts'
import { MAX_RESPONSE_BYTES } from './exchange.ts'

export class ResponseCache {
  readonly #directory: string
  readonly #log: Log
  /** Said once until it works again. */
  #failed = false
  /** One after the other: the last one stays. */
  #writing: Promise<void> = Promise.resolve()

  constructor(directory: string, log: Log) {
    this.#directory = directory
    this.#log = log
  }

  /** @param certificate its fingerprint, hexadecimal. @returns undefined when there is nothing that could be one. */
  async read(certificate: string): Promise<Uint8Array | undefined> {
    const file = this.#file(certificate)
    try {
      const { size } = await stat(file)
      return size > MAX_RESPONSE_BYTES ? undefined : await readFile(file)
    } catch {
      return undefined // the first start, most often; writing says what is wrong with the directory
    }
  }

  /** Never rejects. Another process with the same directory sees the old file or the new one. */
  write(certificate: string, response: Uint8Array): Promise<void> {
    this.#writing = this.#writing.then(() => this.#replace(certificate, response))
    return this.#writing
  }

  /** When everything is written. */
  settled(): Promise<void> {
    return this.#writing
  }

  async #replace(certificate: string, response: Uint8Array): Promise<void> {
    const file = this.#file(certificate)
    const temporary = `${file}.${randomBytes(6).toString('hex')}`
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 })
      await writeWhole(temporary, response)
      await rename(temporary, file)
      this.#failed = false
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {})
      if (this.#failed) return
      this.#failed = true
      const reason = error instanceof Error ? error.message : String(error)
      this.#log.warn({ directory: this.#directory, reason }, 'OCSP responses are not kept for the next start')
    }
  }

  #file(certificate: string): string {
    return join(this.#directory, `${certificate}.ocsp`)
  }
}

async function writeWhole(file: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(file, 'wx', 0o600)
  try {
    await handle.writeFile(bytes)
    await handle.sync()
  } finally {
    await handle.close()
  }
}
