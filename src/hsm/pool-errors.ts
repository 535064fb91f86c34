/** What the pool says when there is no signature: which key, which bound, and everything that was tried. */

import { HsmError } from '../errors.ts'
import type { SignJob } from './sign-job.ts'

export function timeoutError(uri: string, job: SignJob, waiting: number): HsmError {
  const limitMs = Math.round(job.request.deadlineMs - job.startedAtMs)
  const message = `signing with key ${uri} took more than ${limitMs} ms (${waiting} waiting)`
  return new HsmError('ERR_HSM_SIGN_TIMEOUT', message, { errors: job.errors })
}

export function exhaustedError(uri: string, waiting: number): HsmError {
  return new HsmError(
    'ERR_HSM_SESSIONS_EXHAUSTED',
    `all sessions for key ${uri} are busy and ${waiting} signatures wait already`,
  )
}

/** @param memberErrors why the members are out of service; told when the job itself was never tried. */
export function allFailedError(uri: string, job: SignJob, memberErrors: readonly HsmError[]): HsmError {
  const errors = job.errors.length > 0 ? job.errors : memberErrors
  const reasons = [...new Set(errors.map((error) => error.message))].join('; ')
  return new HsmError('ERR_HSM_ALL_FAILED', `no HSM signed with key ${uri}: ${reasons}`, { errors })
}

export function badSignatureError(uri: string, hsm: string): HsmError {
  return new HsmError('ERR_HSM_BAD_SIGNATURE', `hsm "${hsm}": a signature with ${uri} is wrong`, { hsm })
}

export function closedError(): HsmError {
  return new HsmError('ERR_HSM_CLOSED', 'the signing service is closed')
}
