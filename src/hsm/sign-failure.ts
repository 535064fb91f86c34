/** A `failed` frame in words: what a host says when it could not sign. */

import { HsmError } from '../errors.ts'
import { returnValue } from './ckr.ts'
import type { FailedCall, FailedReason } from './frames.ts'

export interface SignFailure {
  /** 0 unless `reason` is `call`. */
  readonly rv: number
  readonly call: FailedCall
  readonly reason: FailedReason
}

export function signFailureError(hsm: string, { rv, call, reason }: SignFailure): HsmError {
  if (reason === 'call') {
    const { name, code } = returnValue(rv)
    return new HsmError(code, `hsm "${hsm}": ${call} returned ${name}`, { hsm, rv, call })
  }
  const { code, text } = WITHOUT_CALL[reason]
  return new HsmError(code, `hsm "${hsm}": ${text}`, { hsm })
}

const WITHOUT_CALL = {
  policy: { code: 'ERR_HSM_REFUSED', text: 'the host refused a message that is no TLS handshake' },
  'no-such-key': { code: 'ERR_HSM_MECHANISM', text: 'the host has no such key, or not with this scheme' },
  busy: { code: 'ERR_HSM_FAILED', text: 'the host was sent more than it has sessions for' },
  'bad-signature': { code: 'ERR_HSM_BAD_SIGNATURE', text: 'C_Sign returned something that is no signature' },
  recovering: {
    code: 'ERR_HSM_SESSION_LOST',
    text: 'the host is recovering and signs nothing meanwhile',
  },
} as const satisfies Record<Exclude<FailedReason, 'call'>, { code: `ERR_HSM_${string}`; text: string }>
