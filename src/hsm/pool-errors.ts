/** What the pool says when there is no signature: which key, which bound, and everything that was tried. */

import { HsmError } from '../errors.ts'
import type { SignJob } from './sign-job.ts'

export function timeoutError(uri: string, job: SignJob, waiting: number): HsmError {
  const limitMs = Math.round(job.request.deadlineMs - job.startedAtMs)
  const message = `signing with key ${uri} took more than ${limitMs} ms (${waiting} waiting)`
  return new HsmError('ERR_HSM_SIGN_TIMEOUT', message, { errors: job.errors })
}

/** @param ready does anybody sign with the key? */
export function exhaustedError(uri: string, waiting: number, ready: boolean): HsmError {
  const why = ready ? `all sessions for key ${uri} are busy` : `no HSM is ready to sign with key ${uri}`
  return new HsmError('ERR_HSM_SESSIONS_EXHAUSTED', `${why} and ${waiting} signatures wait already`)
}

/**
 * Nobody has signed with the key for longer than a signature may take.
 *
 * @param since ISO 8601.
 * @param members what each of them is doing, and why it does not sign.
 */
export function outageError(
  uri: string,
  since: string,
  members: readonly { readonly condition: string; readonly problem: HsmError | undefined }[],
): HsmError {
  const reasons = members.map(({ condition, problem }) =>
    problem === undefined ? condition : `${condition} (${problem.message})`,
  )
  const message = `no HSM signs with key ${uri} since ${since}: ${reasons.join('; ')}`
  return new HsmError('ERR_HSM_ALL_FAILED', message, {
    errors: members.flatMap(({ problem }) => problem ?? []),
  })
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

export function abandonedError(uri: string): HsmError {
  return new HsmError(
    'ERR_HSM_SIGN_ABANDONED',
    `the client left while a signature with key ${uri} waited for an HSM`,
  )
}

export function closedError(): HsmError {
  return new HsmError('ERR_HSM_CLOSED', 'the signing service is closed')
}
