/** The requests to wrap or unwrap ticket keys that a host has not answered yet. They are rare, so each has a timer. */

import { HsmError } from '../errors.ts'
import { returnValue } from './ckr.ts'
import type { WrapCall, WrapDirection, WrapReason } from './frames.ts'

export interface WrapMessage {
  readonly direction: WrapDirection
  /** Authenticated with the keys, not encrypted. */
  readonly header: Uint8Array
  /** Ticket keys to wrap, or what wrapping has made of them. */
  readonly body: Uint8Array
}

export interface WrapFailure {
  /** 0 unless `reason` is `call`. */
  readonly rv: number
  readonly call: WrapCall
  readonly reason: WrapReason
}

interface WrapRequest {
  readonly resolve: (body: Buffer) => void
  readonly reject: (error: HsmError) => void
  readonly timer: NodeJS.Timeout
}

export class WrapRequests {
  readonly #open = new Map<number, WrapRequest>()
  #last = 0

  /** @param options.late the error, when there is no answer after `limitMs`. */
  send(options: { limitMs: number; send: (request: number) => void; late: () => HsmError }): Promise<Buffer> {
    this.#last = (this.#last + 1) >>> 0
    const request = this.#last
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#take(request)?.reject(options.late()), options.limitMs)
      this.#open.set(request, { resolve, reject, timer })
      options.send(request)
    })
  }

  answered(request: number, body: Buffer): void {
    this.#take(request)?.resolve(body)
  }

  failed(request: number, error: HsmError): void {
    this.#take(request)?.reject(error)
  }

  failAll(error: HsmError): void {
    for (const request of [...this.#open.keys()]) this.failed(request, error)
  }

  #take(request: number): WrapRequest | undefined {
    const found = this.#open.get(request)
    this.#open.delete(request)
    clearTimeout(found?.timer)
    return found
  }
}

/** A `not-wrapped` frame in words. */
export function wrapFailureError(hsm: string, uri: string, { rv, call, reason }: WrapFailure): HsmError {
  if (reason !== 'call') {
    const { code, text } = WITHOUT_CALL[reason]
    return new HsmError(code, `hsm "${hsm}": ${text.replace('KEY', uri)}`, { hsm })
  }
  const { name, code, action } = returnValue(rv)
  const said = `hsm "${hsm}": ${call} returned ${name}`
  // Tokens say that a tag does not fit with several values, none of which is for that alone.
  return call === 'C_Decrypt' && DOES_NOT_OPEN.has(action)
    ? new HsmError('ERR_HSM_UNWRAP', `${said}: not wrapped by ${uri}, or altered`, { hsm, rv, call })
    : new HsmError(code, said, { hsm, rv, call })
}

const DOES_NOT_OPEN: ReadonlySet<string> = new Set(['fail-over', 'if-repeated', 'if-lasting'])

const WITHOUT_CALL = {
  policy: { code: 'ERR_HSM_REFUSED', text: 'the host refused what is no set of ticket keys' },
  'no-such-key': {
    code: 'ERR_HSM_KEY_NOT_FOUND',
    text: 'there is no AES key KEY, or more than one; this user may not see it?',
  },
  recovering: { code: 'ERR_HSM_SESSION_LOST', text: 'the host is recovering and wraps nothing meanwhile' },
  extractable: {
    code: 'ERR_HSM_KEY_EXTRACTABLE',
    text: 'KEY can be read out of the token (CKA_EXTRACTABLE, or not CKA_SENSITIVE): generate another one',
  },
  'no-mechanism': { code: 'ERR_HSM_MECHANISM', text: 'the token has no CKM_AES_GCM' },
  'not-reversible': {
    code: 'ERR_HSM_MECHANISM',
    text: 'what the token made with CKM_AES_GCM it does not open again',
  },
} as const satisfies Record<Exclude<WrapReason, 'call'>, { code: `ERR_HSM_${string}`; text: string }>
