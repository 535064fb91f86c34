/**
 * Responses from a file that somebody else keeps fresh. It is looked at every few seconds rather than watched: a
 * mounted Kubernetes Secret changes by symbolic links, and a watch on the file behind the old one says nothing.
 */

import { readFile, stat } from 'node:fs/promises'
import type { OcspSubject } from '../native/addon.ts'
import { MAX_RESPONSE_BYTES } from './exchange.ts'
import type { Source } from './source.ts'
import { judge, type Verdict } from './verdict.ts'

export class ResponseFile implements Source {
  readonly place: string
  readonly #subject: OcspSubject
  /** What the file looked like when it was last read. */
  #seen: string | undefined

  constructor(options: { readonly file: string; readonly subject: OcspSubject }) {
    this.place = options.file
    this.#subject = options.subject
  }

  async ask(): Promise<Verdict | undefined> {
    try {
      const { ino, size, mtimeNs, ctimeNs } = await stat(this.place, { bigint: true })
      const looks = `${ino} ${size} ${mtimeNs} ${ctimeNs}`
      if (looks === this.#seen) return undefined
      const verdict = size > MAX_RESPONSE_BYTES ? tooLarge(size) : await this.#read()
      // Of one whose time comes later, the file does not change when it comes.
      this.#seen = verdict.outcome === 'not-yet-valid' ? undefined : looks
      return verdict
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      if (message === this.#seen) return undefined
      this.#seen = message
      return { outcome: 'file', message }
    }
  }

  delayMs(): number {
    return LOOK_MS
  }

  async #read(): Promise<Verdict> {
    const bytes = await readFile(this.place)
    if (bytes.subarray(0, 5).toString('latin1') === '-----')
      return { outcome: 'malformed', message: 'it is PEM: write it as DER, as openssl ocsp -respout does' }
    return judge(this.#subject, bytes, Date.now())
  }
}

function tooLarge(size: bigint): Verdict {
  return { outcome: 'too-large', message: `it has ${size} bytes: at most ${MAX_RESPONSE_BYTES}` }
}

const LOOK_MS = 5_000
