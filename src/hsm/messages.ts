/** The JSON frames: how an hsm host is told what to open, and what it says when it is ready or cannot go on. */

import { CODES, type ErrorCode, HsmError } from '../errors.ts'
import { RUNGS, type Rung } from './ckr.ts'
import { FrameError } from './frame-reader.ts'
import type { KeyPurpose } from './key-use.ts'
import type { HsmOptions } from './options.ts'

/** Sent once, as the first frame. The PIN itself never travels: only where the host finds it. */
export interface ConfigureMessage {
  readonly hsm: string
  readonly module: string
  /** Parameters for C_Initialize. */
  readonly initialize: string | null
  readonly token: HsmOptions['token']
  readonly pin: HsmOptions['pin']
  readonly userType: number
  readonly sessions: number
  readonly keys: readonly KeyMessage[]
  /** The AES key that wraps ticket keys; it does nothing else, and no other key does that. */
  readonly wrappingKey: WrappingKeyMessage | null
}

export type WrappingKeyMessage = Pick<KeyMessage, 'uri' | 'label' | 'idHex'>

export interface KeyMessage {
  readonly uri: string
  readonly label: string | null
  readonly idHex: string | null
  /** Base64 of the certificate's DER SubjectPublicKeyInfo. */
  readonly spki: string
  readonly purpose: KeyPurpose
}

/** The token is open, or open again; what became of each key, in the order of the configuration. */
export interface ReadyMessage {
  readonly token: { readonly label: string; readonly serial: string }
  /** C_Login was accepted since the last `ready`. */
  readonly loggedIn: boolean
  /** How long the token took to open when it last was, from C_Initialize to the last key found; whole milliseconds. */
  readonly openingMs: number
  /** Signatures that may be in flight: the configured number or the token's limit minus one. */
  readonly sessions: number
  readonly keys: readonly KeyState[]
}

export interface KeyState {
  /** Code points; empty when there is a problem. */
  readonly schemes: readonly number[]
  /** The token showed its public key and it is the certificate's. False: only a test signature can tell. */
  readonly compared: boolean
  readonly problem: ProblemMessage | null
}

/**
 * The host does not sign for a while and takes a rung of its ladder; whatever it was asked and has not answered has failed.
 * A `ready` follows, another `recovering`, or a `problem`.
 */
export interface RecoveringMessage {
  readonly rung: Exclude<Rung, 'host'>
  /** 1 for the first rung since a signature succeeded. */
  readonly attempt: number
  /** Why: the error that the last rung, a signature, or the opening failed with. */
  readonly problem: ProblemMessage
}

/** The host cannot go on (then it ends), or a key cannot be used. Texts are for people and name no secret. */
export interface ProblemMessage {
  readonly code: Extract<ErrorCode, `ERR_HSM_${string}`>
  readonly message: string
  readonly rv: number | null
  readonly call: string | null
  /** Trying again could lock the token: the member stays out until a person has acted. */
  readonly final: boolean
}

export function problemError(hsm: string, problem: ProblemMessage): HsmError {
  return new HsmError(problem.code, `hsm "${hsm}": ${problem.message}`, {
    hsm,
    ...(problem.rv === null ? {} : { rv: problem.rv }),
    ...(problem.call === null ? {} : { call: problem.call }),
  })
}

/** @throws {FrameError} when the bytes are not JSON, or JSON of another shape. */
export function parseConfigure(payload: Buffer): ConfigureMessage {
  const fields = record(json(payload), 'configure')
  return {
    hsm: string(fields['hsm'], 'hsm'),
    module: string(fields['module'], 'module'),
    initialize: fields['initialize'] ? string(fields['initialize'], 'initialize') : null,
    token: parseToken(record(fields['token'], 'token')),
    pin: parsePin(record(fields['pin'], 'pin')),
    userType: integer(fields['userType'], 'userType'),
    sessions: integer(fields['sessions'], 'sessions'),
    keys: list(fields['keys'], 'keys').map((item) => {
      const key = record(item, 'key')
      return {
        ...parseSelector(key),
        spki: string(key['spki'], 'spki'),
        purpose: parsePurpose(key['purpose']),
      }
    }),
    wrappingKey: fields['wrappingKey'] ? parseSelector(record(fields['wrappingKey'], 'wrappingKey')) : null,
  }
}

/** @throws {FrameError} */
export function parseReady(payload: Buffer): ReadyMessage {
  const fields = record(json(payload), 'ready')
  const token = record(fields['token'], 'token')
  return {
    token: { label: string(token['label'], 'label'), serial: string(token['serial'], 'serial') },
    loggedIn: fields['loggedIn'] === true,
    openingMs: integer(fields['openingMs'], 'openingMs'),
    sessions: integer(fields['sessions'], 'sessions'),
    keys: list(fields['keys'], 'keys').map((item) => {
      const key = record(item, 'key')
      return {
        schemes: list(key['schemes'], 'schemes').map((codePoint) => integer(codePoint, 'scheme')),
        compared: key['compared'] === true,
        problem: key['problem'] === null ? null : toProblem(key['problem']),
      }
    }),
  }
}

/** @throws {FrameError} */
export function parseProblem(payload: Buffer): ProblemMessage {
  return toProblem(json(payload))
}

/** @throws {FrameError} */
export function parseRecovering(payload: Buffer): RecoveringMessage {
  const fields = record(json(payload), 'recovering')
  const rung = RUNGS.find((rung) => rung === fields['rung'])
  if (rung === undefined || rung === 'host') throw shape('rung', 'a rung')
  return { rung, attempt: integer(fields['attempt'], 'attempt'), problem: toProblem(fields['problem']) }
}

function toProblem(value: unknown): ProblemMessage {
  const fields = record(value, 'problem')
  const code = string(fields['code'], 'code')
  if (!isHsmCode(code)) throw new FrameError(`unknown error code ${code}`)
  return {
    code,
    message: string(fields['message'], 'message'),
    rv: fields['rv'] === null ? null : integer(fields['rv'], 'rv'),
    call: fields['call'] === null ? null : string(fields['call'], 'call'),
    final: fields['final'] === true,
  }
}

function parseToken(fields: Record<string, unknown>): HsmOptions['token'] {
  if ('label' in fields) return { label: string(fields['label'], 'token.label') }
  if ('serial' in fields) return { serial: string(fields['serial'], 'token.serial') }
  return { slot: integer(fields['slot'], 'token.slot') }
}

function parsePin(fields: Record<string, unknown>): HsmOptions['pin'] {
  return 'file' in fields
    ? { file: string(fields['file'], 'pin.file') }
    : { env: string(fields['env'], 'pin.env') }
}

function parseSelector(key: Record<string, unknown>): WrappingKeyMessage {
  return {
    uri: string(key['uri'], 'uri'),
    label: key['label'] === null ? null : string(key['label'], 'label'),
    idHex: key['idHex'] === null ? null : string(key['idHex'], 'idHex'),
  }
}

function parsePurpose(value: unknown): KeyPurpose {
  if (value !== 'tls' && value !== 'audit-checkpoint') throw shape('purpose', 'a purpose')
  return value
}

function isHsmCode(code: string): code is ProblemMessage['code'] {
  return code.startsWith('ERR_HSM_') && code in CODES
}

function json(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString('utf8'))
  } catch (cause) {
    throw new FrameError('a frame does not hold JSON', { cause })
  }
}

function record(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw shape(name, 'an object')
  return { ...value }
}

function list(value: unknown, name: string): readonly unknown[] {
  if (!Array.isArray(value)) throw shape(name, 'a list')
  return value
}

function string(value: unknown, name: string): string {
  if (typeof value !== 'string') throw shape(name, 'a string')
  return value
}

function integer(value: unknown, name: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw shape(name, 'an integer')
  return value
}

function shape(name: string, expected: string): FrameError {
  return new FrameError(`${name} is not ${expected}`)
}
