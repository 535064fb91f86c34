/** What a command and its job's process say to each other: JSON over Node's own channel. */

import { CODES, type ErrorCode } from '../errors.ts'
import type { JobHsm } from './job.ts'

/** The first and only message to the child. No PIN: only where it is found. */
export interface StartMessage {
  /** URL of the job's file. */
  readonly job: string
  readonly hsm: JobHsm
  readonly args: unknown
}

/** From the child: `progress` as often as it likes, then one of the others. */
export type JobMessage =
  | { readonly kind: 'progress'; readonly value: unknown }
  | { readonly kind: 'result'; readonly value: unknown }
  | {
      readonly kind: 'failed'
      /** null: something that nobody foresaw. */
      readonly code: ErrorCode | null
      readonly message: string
      readonly rv: number | null
      readonly call: string | null
    }

/** @returns undefined for what is no such message; the module shares that process and may have written to the channel. */
export function parseJobMessage(message: unknown): JobMessage | undefined {
  if (typeof message !== 'object' || message === null || !('kind' in message)) return undefined
  const value = 'value' in message ? message.value : undefined
  switch (message.kind) {
    case 'progress':
      return { kind: 'progress', value }
    case 'result':
      return { kind: 'result', value }
    case 'failed':
      return parseFailure({ ...message })
    default:
      return undefined
  }
}

function parseFailure(fields: Record<string, unknown>): JobMessage | undefined {
  const { code, message, rv, call } = fields
  if (typeof message !== 'string') return undefined
  return {
    kind: 'failed',
    code: typeof code === 'string' && isErrorCode(code) ? code : null,
    message,
    rv: typeof rv === 'number' ? rv : null,
    call: typeof call === 'string' ? call : null,
  }
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(CODES, code)
}
