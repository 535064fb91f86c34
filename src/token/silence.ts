/** An HSM that keeps an operator waiting: somebody at a terminal wants to know what for, and how long yet. */

export interface Silence {
  /** Its name in the configuration. */
  readonly hsm: string
  readonly silentMs: number
  /** After so much of it the job is ended. */
  readonly limitMs: number
}

let tell: ((silence: Silence) => void) | undefined

/** @param listener told once for each silence of a job; the last one counts, as a command has one terminal. */
export function onSilence(listener: (silence: Silence) => void): void {
  tell = listener
}

export function reportSilence(silence: Silence): void {
  tell?.(silence)
}
