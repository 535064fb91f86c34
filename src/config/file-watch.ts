/**
 * Looks at files every so often and tells when their contents are others than before.
 *
 * The files are looked at rather than watched: a mounted Kubernetes Secret changes by symbolic links, and a watch on the file
 * behind the old one says nothing. Contents count, not dates. A change is told when the next look finds the same: whoever
 * writes a file, or several, is given the time to end.
 */

import { hash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'

export interface FileWatchOptions {
  readonly intervalMs: number
  /** @param changed files whose contents are others than those last accepted. */
  readonly onChange: (changed: readonly string[]) => void
}

/** Contents of files by path, as digests. */
export type Contents = ReadonlyMap<string, string>

export class FileWatch {
  readonly #options: FileWatchOptions
  readonly #known = new Map<string, { readonly look: string; readonly content: string }>()
  #accepted: Contents
  /** What an earlier look has found and is not told yet. */
  #unsettled: string | undefined
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(files: readonly string[], options: FileWatchOptions) {
    this.#options = options
    this.#accepted = this.contents(files)
    this.#lookAgainIn(options.intervalMs)
  }

  /** Reads what has another date or size than last time. */
  contents(files: readonly string[]): Contents {
    return new Map(files.map((file) => [file, this.#contentOf(file)]))
  }

  /**
   * These are looked for from now on, and a difference from these contents is a change.
   *
   * @param contents to be taken before the files are used, so that what is written meanwhile is found.
   */
  accept(contents: Contents): void {
    this.#accepted = contents
    this.#unsettled = undefined
    for (const file of this.#known.keys()) if (!contents.has(file)) this.#known.delete(file)
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  #look(): void {
    const now = this.contents([...this.#accepted.keys()])
    const changed = [...now].filter(([file, content]) => content !== this.#accepted.get(file))
    const found = changed.length === 0 ? undefined : JSON.stringify(changed)
    const settled = found !== undefined && found === this.#unsettled
    this.#unsettled = settled ? undefined : found
    if (settled) {
      // Whatever comes of it: this content is not told twice.
      this.#accepted = now
      this.#options.onChange(changed.map(([file]) => file))
    }
    const { intervalMs } = this.#options
    this.#lookAgainIn(this.#unsettled === undefined ? intervalMs : Math.min(intervalMs, SETTLE_MS))
  }

  #lookAgainIn(ms: number): void {
    if (!this.#closed) this.#timer = setTimeout(() => this.#look(), ms).unref()
  }

  #contentOf(file: string): string {
    const look = lookOf(file)
    const known = this.#known.get(file)
    if (known?.look === look) return known.content
    const content = digestOf(file)
    this.#known.set(file, { look, content })
    return content
  }
}

/** Changes with every way in which a file is usually replaced. */
function lookOf(file: string): string {
  try {
    const { ino, size, mtimeNs, ctimeNs } = statSync(file, { bigint: true })
    return `${ino} ${size} ${mtimeNs} ${ctimeNs}`
  } catch {
    return 'cannot be looked at'
  }
}

function digestOf(file: string): string {
  try {
    return hash('sha256', readFileSync(file))
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'cannot be read'
  }
}

const SETTLE_MS = 500
