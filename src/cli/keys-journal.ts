/** What is said when the record of key management could not be signed. It stands all the same. */

import type { Terminal } from './program.ts'

/** @param unsigned why; undefined: it was signed, or there is nothing to sign with. */
export function tellUnsigned(unsigned: string | undefined, terminal: Terminal): void {
  if (unsigned === undefined) return
  terminal.err(`warning: the record in the audit log is not covered by a checkpoint yet: ${unsigned}\n`)
}
