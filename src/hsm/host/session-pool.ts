/**
 * The sessions that sign.
 *
 * # Sessions and concurrency
 *
 * A PKCS#11 session runs one operation at a time; C_SignInit and C_Sign belong together, and nothing may come
 * between them. Therefore:
 * 1. whoever signs has a session to himself, from `acquire()` to `release()` or `discard()`;
 * 2. after any error a session is discarded, never used again: nobody knows what state it is in;
 * 3. there are never more than the token allows, less the one that holds the login (token.ts);
 * 4. sessions are opened when they are needed and a few at a time, since C_OpenSession blocks this thread and
 *    some HSMs take it badly when hundreds are opened at once.
 */

import { BackOff } from '../back-off.ts'
import { CKR, returnValue } from '../ckr.ts'
import { type Handle, Pkcs11Error, type Pkcs11Module } from './pkcs11.ts'

export interface Session {
  readonly handle: Handle
  /** Where C_Sign writes; read it before the session is released. */
  readonly output: Buffer
}

export class SessionPool {
  readonly #module: Pkcs11Module
  readonly #slot: Handle
  readonly #onChange: () => void
  readonly #idle: Session[] = []
  /** Given up, but the module would not close them: handles by their bytes. */
  readonly #unclosed = new Map<string, Handle>()
  readonly #wanted: number
  readonly #pause = new BackOff({ firstMs: 5_000, capMs: 300_000 })
  #askAgain: NodeJS.Timeout | undefined
  #open = 0
  #limit: number
  #openedThisTurn = 0

  /** @param options.onChange called when `open` or `limit` has changed. */
  constructor(options: { module: Pkcs11Module; slot: Handle; limit: number; onChange: () => void }) {
    this.#module = options.module
    this.#slot = options.slot
    this.#wanted = options.limit
    this.#limit = options.limit
    this.#onChange = options.onChange
  }

  get open(): number {
    return this.#open
  }

  /** Would a later turn of the event loop bring another session? */
  get mayGrow(): boolean {
    return this.#open < this.#limit
  }

  get limit(): number {
    return this.#limit
  }

  /**
   * @returns undefined when all sessions are busy, or enough were opened for one turn of the event loop.
   * @throws {Pkcs11Error} when not a single session can be had.
   */
  acquire(): Session | undefined {
    return this.#idle.pop() ?? this.#openOne()
  }

  release(session: Session): void {
    this.#idle.push(session)
  }

  /** Gives up a session for good. */
  discard(session: Session): void {
    this.#open--
    this.#close(session.handle)
    this.#onChange()
  }

  /** After an error that concerns all sessions alike. Those in use are discarded by their users. */
  discardIdle(): void {
    for (const session of this.#idle.splice(0)) this.discard(session)
  }

  /** Closes all that are idle, and tries once more to close those that would not be. */
  closeIdle(): void {
    this.discardIdle()
    for (const handle of [...this.#unclosed.values()]) this.#close(handle)
  }

  /** The error that brought us here has been reported; an open session that nobody knows would count for the token. */
  #close(handle: Handle): void {
    const bytes = handle.toString('hex')
    this.#unclosed.delete(bytes)
    try {
      this.#module.closeSession(handle)
    } catch (error) {
      const known = error instanceof Pkcs11Error ? returnValue(error.rv) : undefined
      if (known?.code !== 'ERR_HSM_SESSION_LOST') this.#unclosed.set(bytes, handle)
    }
  }

  #openOne(): Session | undefined {
    if (this.#open >= this.#limit || this.#openedThisTurn >= OPEN_PER_TURN) return undefined
    for (const unclosed of this.#unclosed.values()) {
      this.#close(unclosed)
      break // one for one, so that a slow call is not made many times
    }
    try {
      const handle = this.#module.openSession(this.#slot)
      // It was closed after all, and its number is another's now.
      this.#unclosed.delete(handle.toString('hex'))
      this.#open++
      if (this.#openedThisTurn++ === 0) {
        setImmediate(() => {
          this.#openedThisTurn = 0
        })
      }
      this.#onChange()
      return { handle, output: Buffer.allocUnsafeSlow(MAX_SIGNATURE_BYTES) }
    } catch (error) {
      if (error instanceof Pkcs11Error && error.rv === CKR.SESSION_COUNT && this.#open > 0) {
        this.#settle()
        return undefined
      }
      throw error
    }
  }

  /** The token's limit is lower than it says, or others use it too: do with what we have, and later ask for more again. */
  #settle(): void {
    this.#setLimit(this.#open)
    this.#askAgain ??= setTimeout(() => {
      this.#askAgain = undefined
      this.#setLimit(this.#wanted)
    }, this.#pause.next()).unref()
  }

  #setLimit(limit: number): void {
    this.#limit = limit
    this.#onChange()
  }
}

const OPEN_PER_TURN = 4
// RSA-16384, the largest that PKCS#11 modules are known to do.
const MAX_SIGNATURE_BYTES = 2048
