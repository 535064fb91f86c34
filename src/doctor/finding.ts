/** What the doctor says: one thing that is well or not, in plain words, with the cure beside it. */

/**
 * - `ok`: looked at, and well.
 * - `note`: good to know; nothing has to be done.
 * - `warning`: works, and will hurt on a bad day.
 * - `error`: does not work, or would lock or endanger something.
 */
export type Level = 'ok' | 'note' | 'warning' | 'error'

export interface Finding {
  readonly level: Level
  /** For scripts, e.g. `token.pin-locked`: a name is never given to something else. */
  readonly id: string
  /** Whose fault it would be; an error of a configuration ends with 78, any other with 69. */
  readonly about: 'configuration' | 'hsm' | 'machine'
  /** The name of an HSM, a certificate's file, `machine`, or the configuration's file. */
  readonly subject: string
  readonly message: string
  /** What to do; undefined where there is nothing to do. */
  readonly cure?: string | undefined
}

export type FindingText = Pick<Finding, 'id' | 'message'> & { readonly cure?: string | undefined }

/** The findings of one subject, in the order in which they were made. */
export class Findings {
  readonly list: Finding[] = []
  readonly #about: Finding['about']
  readonly #subject: string

  constructor(about: Finding['about'], subject: string) {
    this.#about = about
    this.#subject = subject
  }

  ok(id: string, message: string): void {
    this.#add('ok', { id, message })
  }

  note(id: string, message: string, cure?: string): void {
    this.#add('note', { id, message, cure })
  }

  warning(id: string, message: string, cure: string): void {
    this.#add('warning', { id, message, cure })
  }

  error(id: string, message: string, cure: string): void {
    this.#add('error', { id, message, cure })
  }

  #add(level: Level, { id, message, cure }: FindingText): void {
    const finding: Finding = { level, id, about: this.#about, subject: this.#subject, message }
    this.list.push(cure === undefined ? finding : { ...finding, cure })
  }
}

/** sysexits.h: 78 when the configuration is wrong, 69 when an HSM or the machine is, 0 when nothing is. */
export function statusOf(findings: readonly Finding[]): number {
  const errors = findings.filter(({ level }) => level === 'error')
  if (errors.length === 0) return 0
  return errors.some(({ about }) => about === 'configuration') ? CONFIGURATION_STATUS : UNAVAILABLE_STATUS
}

const UNAVAILABLE_STATUS = 69
const CONFIGURATION_STATUS = 78
