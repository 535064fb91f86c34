/** What a job is: one thing to do on one HSM, in a child process of its own (main.ts), for an operator's command. */

import type { Token } from '../hsm/host/token.ts'
import type { HsmOptions } from '../hsm/options.ts'

/**
 * A job's file exports one of these as `job`.
 *
 * What `run` returns is sent as JSON. What it throws reaches the command as an error with the same code: a
 * Pkcs11Error or Problem of `hsm/host/` as an HsmError, a SealgateError as one, anything else as a bug.
 */
export type TokenJob =
  /** The module is started, the token found, the user logged in. */
  | { readonly opens: 'logged-in'; run(token: JobToken, context: JobContext): unknown }
  /** As above without the login: public objects, mechanisms, flags. */
  | { readonly opens: 'without-login'; run(token: Token, context: JobContext): unknown }
  /** Not even the module is loaded: `context.hsm` says what there is. */
  | { readonly opens: 'nothing'; run(context: JobContext): unknown }

export interface JobToken extends Token {
  /**
   * The login that a key with CKA_ALWAYS_AUTHENTICATE wants between C_SignInit and C_Sign.
   *
   * @param session the one that C_SignInit was called with.
   */
  authenticate(session: Token['session']): void
}

export interface JobContext {
  readonly hsm: JobHsm
  /** As given to `runTokenJob`, through JSON. */
  readonly args: unknown
  /** Tells the command how far it is, as JSON; each message starts the time limit anew. */
  progress(value: unknown): void
}

/** The HSM as the child knows it: its environment is already set. */
export type JobHsm = Omit<HsmOptions, 'env'>
