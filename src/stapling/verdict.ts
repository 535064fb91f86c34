/**
 * What a response is worth now. OpenSSL has said whom it is for and who signed it; time is judged here.
 *
 * Only `good` is ever stapled. A client that gets a stapled `revoked` refuses the connection anyway, and one that does
 * not ask learns nothing: telling the operator is what helps.
 */

import type { NativeOcspReading, OcspRefusal, OcspSubject } from '../native/addon.ts'

/** A response that is good now. */
export interface Staple {
  /** DER OCSPResponse. */
  readonly response: Uint8Array
  /** Unix time, as all that end in Ms here. */
  readonly thisUpdateMs: number
  /** From then on it is worth nothing. */
  readonly endsMs: number
}

/** Why there is nothing to staple; values of a metric label. */
export type Trouble =
  | OcspRefusal
  | 'unknown'
  | 'expired'
  | 'not-yet-valid'
  | 'timeout'
  | 'connection'
  | 'http-status'
  | 'content-type'
  | 'too-large'
  | 'file'

export type Verdict =
  | { readonly outcome: 'good'; readonly staple: Staple }
  | {
      readonly outcome: 'revoked'
      readonly message: string
      readonly response: Uint8Array
      readonly thisUpdateMs: number
    }
  | { readonly outcome: Trouble; readonly message: string }

export function judge(subject: OcspSubject, response: Uint8Array, nowMs: number): Verdict {
  const reading = subject.read(response)
  if (reading.status === 'refused') return { outcome: reading.reason, message: reading.detail }
  const { thisUpdateMs } = reading
  const endsMs = endOf(reading)
  if (thisUpdateMs > nowMs + SKEW_MS) {
    const message = `it is not valid before ${time(thisUpdateMs)}: check the clock of this machine`
    return { outcome: 'not-yet-valid', message }
  }
  if (endsMs <= nowMs) return { outcome: 'expired', message: `it was good until ${time(endsMs)}` }
  switch (reading.status) {
    case 'good':
      return { outcome: 'good', staple: { response, thisUpdateMs, endsMs } }
    case 'revoked':
      return { outcome: 'revoked', message: revocationText(reading), response, thisUpdateMs }
    default:
      return { outcome: 'unknown', message: 'the responder does not know the certificate' }
  }
}

/** ISO 8601 to the second, as operators compare it with what openssl prints. */
export function time(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}

type Signed = Exclude<NativeOcspReading, { status: 'refused' }>

/** A responder's certificate that ends first takes its answers along. */
function endOf({ thisUpdateMs, nextUpdateMs, signerEndsMs }: Signed): number {
  return Math.min(nextUpdateMs ?? thisUpdateMs + UNSAID_MS, signerEndsMs ?? Number.POSITIVE_INFINITY)
}

function revocationText({ revokedMs, revokedReason }: Signed): string {
  const when = revokedMs === undefined ? '' : ` on ${time(revokedMs)}`
  const why = revokedReason === undefined ? '' : ` (${revokedReason})`
  return `the certificate was REVOKED${when}${why}: replace it`
}

/** A responder's clock may be ahead of ours by so much. It gets no more time at the other end. */
const SKEW_MS = 5 * 60_000
/** Without nextUpdate there is newer information at any time (RFC 6960 §4.2.2.1): not for long, then. */
const UNSAID_MS = 3600_000
