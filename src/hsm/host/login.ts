/**
 * The PIN, and every C_Login that is made with it.
 *
 * A wrong PIN counts against the token's limit, and a token that has locked itself needs the security officer. So: one
 * attempt in the life of a host, until the PIN was accepted; never when the token says that one try is left or
 * none; and a refusal is the end of this member, also one that only the token's flags tell of.
 *
 * One failure is made good by a second attempt: SoftHSM writes its token anew at every login of any process, and to whoever
 * logs in at that instant it answers with an error before it has looked at the PIN.
 */

import { CKR, returnValue } from '../ckr.ts'
import type { ConfigureMessage } from '../messages.ts'
import { readPin } from './pin.ts'
import { CK, type Handle, Pkcs11Error, type Pkcs11Module } from './pkcs11.ts'
import { Problem } from './problem.ts'

/** C_Login has failed, probably without looking at the PIN: it may be made once more. */
export class LoginInDoubt extends Problem {}

export class Login {
  readonly #options: Pick<ConfigureMessage, 'pin' | 'userType'>
  #pin: string | undefined
  #untold = false
  #state: 'untried' | 'tried' | 'accepted' = 'untried'
  /** Since the last accepted login: the token's flags before it, and what it returned. */
  #inDoubt: { readonly flags: number; readonly cause: Pkcs11Error } | undefined
  /** Also an accepted PIN: it has been changed, or has expired. */
  #refused: Problem | undefined

  constructor(options: Pick<ConfigureMessage, 'pin' | 'userType'>) {
    this.#options = options
  }

  /** The one attempt was made and nobody knows whether the PIN is right: this host must not try again. */
  get spent(): boolean {
    return this.#state === 'tried'
  }

  /**
   * Logs in, if the token wants that.
   *
   * @returns true when the token has accepted the PIN now: handles of private objects from before are invalid
   *   (PKCS#11 v3.1, C_Logout). False when somebody was logged in, or nobody has to be.
   * @throws {Problem} final when the PIN was refused, now or before, or must not be tried.
   */
  perform(module: Pkcs11Module, slot: Handle, session: Handle): boolean {
    this.#pin ??= readPin(this.#options.pin)
    const { flags } = module.tokenInfo(slot)
    if ((flags & CK.CKF_LOGIN_REQUIRED) === 0) return false
    refuseToRisk(flags)
    if (this.#refused !== undefined) throw this.#refused
    if (this.spent) throw new Problem('ERR_HSM_FAILED', 'the PIN was tried once and not accepted')
    if (this.#inDoubt !== undefined && hasCounted(this.#inDoubt.flags, flags))
      throw this.#refuse(this.#inDoubt.cause)
    if (this.#state === 'untried') this.#state = 'tried'
    try {
      module.login(session, this.#options.userType, this.#pin)
    } catch (cause) {
      if (!(cause instanceof Pkcs11Error)) throw cause
      if (cause.rv === CKR.USER_ALREADY_LOGGED_IN) return false
      throw this.#failure(cause, flags, flagsNow(module, slot))
    }
    this.#state = 'accepted'
    this.#inDoubt = undefined
    this.#untold = true
    return true
  }

  /** Was the PIN accepted since this was last asked? */
  takeAccepted(): boolean {
    const accepted = this.#untold
    this.#untold = false
    return accepted
  }

  /**
   * The login that a key with CKA_ALWAYS_AUTHENTICATE wants between C_SignInit and C_Sign.
   *
   * @throws {Problem} final when the PIN was refused before or must not be tried; a Pkcs11Error when it is refused now.
   */
  performForSignature(module: Pkcs11Module, slot: Handle, session: Handle): void {
    if (this.#refused !== undefined) throw this.#refused
    this.#pin ??= readPin(this.#options.pin)
    refuseToRisk(module.tokenInfo(slot).flags)
    try {
      module.login(session, CK.CKU_CONTEXT_SPECIFIC, this.#pin)
    } catch (error) {
      if (error instanceof Pkcs11Error) this.#refusal(error)
      throw error
    }
  }

  /** @param after undefined: the token does not say. */
  #failure(cause: Pkcs11Error, before: number, after: number | undefined): Problem | Pkcs11Error {
    const counted = after !== undefined && hasCounted(before, after)
    const hasPin = (before & CK.CKF_USER_PIN_INITIALIZED) !== 0
    if (!counted && hasPin && MAY_NOT_COMPARE.has(cause.rv) && this.#inDoubt === undefined) {
      this.#inDoubt = { flags: before, cause }
      if (this.#state === 'tried') this.#state = 'untried'
      return new LoginInDoubt('ERR_HSM_FAILED', cause.message, { cause })
    }
    return counted ? this.#refuse(cause) : this.#refusal(cause)
  }

  /** What C_Login returned, as the end of this member if it says anything about the PIN. */
  #refusal(cause: Pkcs11Error): Problem | Pkcs11Error {
    return returnValue(cause.rv).action === 'stop' ? this.#refuse(cause) : cause
  }

  #refuse(cause: Pkcs11Error): Problem {
    const { name, action, code } = returnValue(cause.rv)
    const { pin } = this.#options
    const source = 'file' in pin ? `file ${pin.file}` : `variable ${pin.env}`
    const counted = action === 'stop' ? '' : ', and has counted a wrong PIN'
    this.#refused = new Problem(
      action === 'stop' ? code : 'ERR_HSM_PIN',
      `the token refused the PIN from ${source} (${name}${counted}); it was tried once and will not be tried again`,
      { cause, final: true },
    )
    return this.#refused
  }
}

// CKR_GENERAL_ERROR: its file could not be read. CKR_USER_PIN_NOT_INITIALIZED, of a token that says it has a PIN: it could not when the
// module was started.
const MAY_NOT_COMPARE: ReadonlySet<number> = new Set([CKR.GENERAL_ERROR, CKR.USER_PIN_NOT_INITIALIZED])

function flagsNow(module: Pkcs11Module, slot: Handle): number | undefined {
  try {
    return module.tokenInfo(slot).flags
  } catch (error) {
    if (error instanceof Pkcs11Error) return undefined
    throw error
  }
}

/** Since the last good login, a wrong PIN has been entered, and had not been before (PKCS#11 v3.1, CK_TOKEN_INFO). */
function hasCounted(before: number, after: number): boolean {
  const wrong = CK.CKF_USER_PIN_COUNT_LOW | CK.CKF_USER_PIN_FINAL_TRY | CK.CKF_USER_PIN_LOCKED
  return (after & ~before & wrong) !== 0
}

function refuseToRisk(flags: number): void {
  if ((flags & CK.CKF_USER_PIN_LOCKED) !== 0) {
    throw new Problem('ERR_HSM_PIN', 'the PIN is locked; the security officer has to unlock it', {
      final: true,
    })
  }
  if ((flags & CK.CKF_USER_PIN_FINAL_TRY) !== 0) {
    const message =
      'one PIN try is left, so the login was not attempted; log in once by hand with the right PIN, then restart'
    throw new Problem('ERR_HSM_PIN', message, { final: true })
  }
}
