/**
 * Failed handshakes in the log: the first few of a kind in full, the others as one line that counts them.
 *
 * An outage of the HSMs under ten thousand handshakes a second is one thing to say, not ten thousand; and whoever sends
 * garbage must not be able to fill the disk with it. `sealgate_handshakes_total` counts them all.
 */

import type { Log } from '../log.ts'

interface Kind {
  readonly level: 'info' | 'warn'
  readonly timer: NodeJS.Timeout
  failed: number
  /** The last one's. */
  reason: string
}

export class FailureLog {
  readonly #log: Log
  readonly #kinds = new Map<string, Kind>()

  constructor(log: Log) {
    this.#log = log
  }

  /**
   * @param kind what counts as the same; there may be as many as peers can think of.
   * @param facts for the lines that are written in full.
   */
  failed(level: Kind['level'], kind: string, reason: string, facts: object): void {
    const known = this.#kinds.has(kind) || this.#kinds.size < MAX_KINDS ? kind : OTHERS
    const current = this.#kinds.get(known) ?? this.#begin(known, level)
    current.failed++
    current.reason = reason
    if (current.failed <= FULL_LINES) this.#log[level]({ ...facts, reason }, 'handshake failed')
  }

  /** Says what has not been said yet. */
  close(): void {
    for (const kind of this.#kinds.keys()) this.#end(kind)
  }

  #begin(kind: string, level: Kind['level']): Kind {
    const timer = setTimeout(() => this.#end(kind), WINDOW_MS)
    timer.unref()
    const begun = { level, timer, failed: 0, reason: '' }
    this.#kinds.set(kind, begun)
    return begun
  }

  #end(kind: string): void {
    const ended = this.#kinds.get(kind)
    if (ended === undefined) return
    clearTimeout(ended.timer)
    this.#kinds.delete(kind)
    const more = ended.failed - FULL_LINES
    if (more > 0) {
      const facts = { handshakes: more, withinMs: WINDOW_MS, reason: ended.reason }
      this.#log[ended.level](facts, 'more handshakes failed')
    }
  }
}

const FULL_LINES = 10
const WINDOW_MS = 10_000
const MAX_KINDS = 32
const OTHERS = 'others'
