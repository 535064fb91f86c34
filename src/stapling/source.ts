import type { Staple, Verdict } from './verdict.ts'

/** Where the responses for one certificate come from. */
export interface Source {
  /** For people: a URL, a path. */
  readonly place: string
  /**
   * Gets a response and judges it. Never rejects.
   *
   * @returns undefined when there is nothing new.
   */
  ask(signal: AbortSignal): Promise<Verdict | undefined>
  /** When to ask again. @param answered the last try brought one that is authentic and in time. */
  delayMs(current: Staple | undefined, answered: boolean, nowMs: number): number
}
