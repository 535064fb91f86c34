/**
 * What goes wrong in opening a token because somebody else opens it, too.
 *
 * SoftHSM writes its token anew at every login, and whoever starts in that instant finds no token, one that it cannot
 * read, or one whose login fails before the PIN is looked at. Opened again, from C_Initialize on, it is there.
 */

import { BackOff } from '../back-off.ts'
import { LoginInDoubt } from './login.ts'
import { Pkcs11Error } from './pkcs11.ts'
import { Problem } from './problem.ts'

export class OpeningHiccups {
  readonly #pause = new BackOff({ firstMs: 60, capMs: 480 })
  #count = 0

  /** @returns milliseconds after which to open it again without a word; undefined: it is no hiccup, or has lasted too long for one. */
  pauseAfter(error: unknown): number | undefined {
    return isHiccup(error) && ++this.#count < MAX_OPENINGS ? this.#pause.next() : undefined
  }
}

function isHiccup(error: unknown): boolean {
  return error instanceof Problem
    ? error.code === 'ERR_HSM_TOKEN_NOT_FOUND' || error instanceof LoginInDoubt
    : error instanceof Pkcs11Error && error.call === 'C_GetTokenInfo'
}

// With the pauses between them, about a second.
const MAX_OPENINGS = 5
