/** One login, or none: a doctor who locks the token is worse than the illness. */

import type { Login } from '../../hsm/host/login.ts'
import { CK, type Handle, Pkcs11Error, type Pkcs11Module } from '../../hsm/host/pkcs11.ts'
import { Problem } from '../../hsm/host/problem.ts'
import type { FactOf } from '../facts.ts'
import type { Teller } from './teller.ts'
import type { SlotWithToken } from './tokens.ts'

export interface LoginRequest {
  readonly module: Pkcs11Module
  readonly slot: SlotWithToken
  readonly session: Handle
  readonly login: Login
  readonly wanted: boolean
}

/** The login that a key with CKA_ALWAYS_AUTHENTICATE wants between C_SignInit and C_Sign. */
export type Authenticate = (session: Handle) => void

/** What became of it. */
export interface LoggedIn {
  /** undefined unless the token has accepted the PIN. */
  readonly authenticate: Authenticate | undefined
  /** What it failed with. */
  readonly error?: unknown
}

/**
 * Logs in once, and tells how it went. Not when the token says that a wrong PIN was tried since the last right one: a
 * doctor who is asked again and again would use up the tries that are left.
 */
export function logIn(request: LoginRequest, tell: Teller): LoggedIn {
  const { module, slot, session, login, wanted } = request
  const told = (outcome: FactOf<'login'>['outcome'], message = ''): void =>
    tell.fact({ fact: 'login', outcome, message })
  if ((slot.fact.flags & CK.CKF_LOGIN_REQUIRED) === 0) {
    told('not-needed')
    return NOBODY
  }
  if (!wanted) {
    told('no-pin')
    return NOBODY
  }
  if ((slot.fact.flags & RISKY) !== 0) {
    told('withheld')
    return NOBODY
  }
  try {
    told(login.perform(module, slot.handle, session) ? 'accepted' : 'already')
  } catch (error) {
    if (error instanceof Problem) told(error.final ? 'refused' : 'failed', error.message)
    else if (error instanceof Pkcs11Error) told('failed', error.message)
    else throw error
    return { ...NOBODY, error }
  }
  return { authenticate: (signing) => login.performForSignature(module, slot.handle, signing) }
}

const NOBODY: LoggedIn = { authenticate: undefined }

// PKCS#11 v3.1, CK_TOKEN_INFO: CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED.
const RISKY = 0x10000 | CK.CKF_USER_PIN_FINAL_TRY | CK.CKF_USER_PIN_LOCKED
