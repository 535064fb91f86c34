/**
 * Decides when a member gets no more traffic: after failures in a row, or when it has stopped to answer.
 *
 * Any answer clears it; opening, resting and probing are the member's (member.ts).
 */
export class Breaker {
  #failures = 0
  #silences = 0
  #lastAnswerMs = 0
  /** Nothing but "busy" since then. */
  #busySinceMs: number | undefined

  /** When it answered last, a signature or not. */
  get lastAnswerMs(): number {
    return this.#lastAnswerMs
  }

  /** An answer that is a signature. */
  succeeded(nowMs: number): void {
    this.#failures = 0
    this.#busySinceMs = undefined
    this.answered(nowMs)
  }

  /** It has said something, which is no reason to rest. */
  answered(nowMs: number): void {
    this.#lastAnswerMs = nowMs
    this.#silences = 0
  }

  /** @returns true when it is time to rest. */
  failed(nowMs: number): boolean {
    this.answered(nowMs)
    return ++this.#failures >= FAILURES_TO_OPEN
  }

  /** It says that it is busy, which is no reason to rest while it signs in between. @returns true when it is time to. */
  busy(nowMs: number): boolean {
    this.#busySinceMs ??= nowMs
    const opens = this.failed(nowMs)
    return opens && nowMs - this.#busySinceMs > BUSY_MS
  }

  /** A signature is late, so that another member was asked. */
  late(): void {
    this.#silences++
  }

  /**
   * Is it time to rest because it has stopped to answer? To be asked all along: nobody is late at who is full.
   *
   * @param readMs what had been answered by then has been read.
   */
  isSilent(readMs: number): boolean {
    return this.#silences >= SILENCES_TO_OPEN && readMs - this.#lastAnswerMs > SILENT_MS
  }

  /** Starts afresh after a rest. */
  reset(nowMs: number): void {
    this.succeeded(nowMs)
  }
}

const FAILURES_TO_OPEN = 3
// Longer than the second in which rate caps are counted.
const BUSY_MS = 1500
// Late three times running, with no answer at all for a quarter of a second: it hangs, and is not just slow.
const SILENCES_TO_OPEN = 3
const SILENT_MS = 250
