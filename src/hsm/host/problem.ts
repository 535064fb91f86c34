/** A reason to end the host, or to do without a key, in words for the operator. */

import { returnValue } from '../ckr.ts'
import type { ProblemMessage } from '../messages.ts'
import { Pkcs11Error } from './pkcs11.ts'

export class Problem extends Error {
  override readonly name = 'Problem'
  readonly code: ProblemMessage['code']
  readonly final: boolean

  constructor(
    code: ProblemMessage['code'],
    message: string,
    options: { cause?: unknown; final?: boolean } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.final = options.final ?? false
  }
}

/** What the front process is told. A Pkcs11Error keeps its return value; anything else is a bug of the host. */
export function problemMessage(error: unknown): ProblemMessage {
  if (error instanceof Pkcs11Error) {
    const { code, action } = returnValue(error.rv)
    return { code, message: error.message, rv: error.rv, call: error.call, final: action === 'stop' }
  }
  if (error instanceof Problem) {
    const cause = error.cause instanceof Pkcs11Error ? error.cause : undefined
    return {
      code: error.code,
      message: error.message,
      rv: cause?.rv ?? null,
      call: cause?.call ?? null,
      final: error.final,
    }
  }
  const message = error instanceof Error ? error.message : String(error)
  return { code: 'ERR_HSM_FAILED', message, rv: null, call: null, final: false }
}
