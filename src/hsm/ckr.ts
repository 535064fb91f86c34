/**
 * Every PKCS#11 return value: its name, the error code it becomes, and what to do about it (PKCS#11 v3.1, CK_RV).
 *
 * This is the only place that decides how a failing call is answered; nothing else compares return values.
 */

import type { ErrorCode } from '../errors.ts'

/** The rungs of the recovery ladder, lowest first: each does what those below it do, as far as that is needed. */
export const RUNGS = ['session', 'login', 'keys', 'module', 'host'] as const
export type Rung = (typeof RUNGS)[number]

/**
 * - `session`: the session is of no more use. The operation is tried once more in a fresh one; fails that too, the
 *   ladder is climbed from there.
 * - `login`, `keys`, `module`: logged out, stale handles, no connection. The ladder is climbed from this rung.
 * - `if-repeated`: may be a hiccup, or the first word of an outage. The ladder is climbed from the bottom when it
 *   comes again and no signature came in between.
 * - `if-lasting`: so does a busy HSM speak (CloudHSM: CKR_FUNCTION_FAILED). As above, after a longer time.
 * - `fail-over`: try another member; this request is what was wrong, or nothing that a new session would cure.
 * - `stop`: trying again does harm. The member stays out until a person has acted.
 */
export type RecoveryAction = Exclude<Rung, 'host'> | 'if-repeated' | 'if-lasting' | 'fail-over' | 'stop'

export interface ReturnValue {
  /** e.g. `CKR_DEVICE_ERROR`; `0x80000123` for a value the standard does not name. */
  readonly name: string
  readonly code: Extract<ErrorCode, `ERR_HSM_${string}`>
  readonly action: RecoveryAction
  /** The HSM may just have been asked for too much at once: it is asked for less (concurrency-limit.ts). */
  readonly busy: boolean
}

/** The row of a return value. Unknown ones, vendors' own among them, mean `if-lasting` and keep their number as name. */
export function returnValue(rv: number): ReturnValue {
  return (
    rows.get(rv) ?? {
      name: `0x${rv.toString(16)}`,
      code: 'ERR_HSM_FAILED',
      action: 'if-lasting',
      busy: false,
    }
  )
}

/** @param name as in PKCS#11. @returns undefined for a name that the standard does not have. */
export function returnValueNumber(name: string): number | undefined {
  return TABLE.find(([, known]) => known === name)?.[0]
}

/** For comparing with one certain return value in code that asks for it, e.g. `CKR.USER_ALREADY_LOGGED_IN`. */
export const CKR = {
  OK: 0x00,
  GENERAL_ERROR: 0x05,
  ARGUMENTS_BAD: 0x07,
  ATTRIBUTE_TYPE_INVALID: 0x12,
  ATTRIBUTE_VALUE_INVALID: 0x13,
  OBJECT_HANDLE_INVALID: 0x82,
  SESSION_COUNT: 0xb1,
  TEMPLATE_INCONSISTENT: 0xd1,
  USER_ALREADY_LOGGED_IN: 0x100,
  USER_PIN_NOT_INITIALIZED: 0x102,
  DOMAIN_PARAMS_INVALID: 0x130,
  CURVE_NOT_SUPPORTED: 0x140,
  CRYPTOKI_ALREADY_INITIALIZED: 0x191,
} as const

type Row = readonly [
  rv: number,
  name: string,
  code?: ReturnValue['code'],
  action?: RecoveryAction,
  busy?: 'busy',
]

// What a row leaves out is ERR_HSM_FAILED, fail-over.
const TABLE: readonly Row[] = [
  [0x00, 'CKR_OK'],
  [0x01, 'CKR_CANCEL', 'ERR_HSM_FAILED', 'session'],
  [0x02, 'CKR_HOST_MEMORY', 'ERR_HSM_FAILED', 'if-lasting', 'busy'],
  [0x03, 'CKR_SLOT_ID_INVALID', 'ERR_HSM_TOKEN_NOT_FOUND', 'module'],
  [0x05, 'CKR_GENERAL_ERROR', 'ERR_HSM_FAILED', 'if-repeated'],
  // So says a throttled CloudHSM, and CKR_OPERATION_ACTIVE with its older SDK.
  [0x06, 'CKR_FUNCTION_FAILED', 'ERR_HSM_FAILED', 'if-lasting', 'busy'],
  [0x07, 'CKR_ARGUMENTS_BAD'],
  [0x08, 'CKR_NO_EVENT'],
  [0x09, 'CKR_NEED_TO_CREATE_THREADS'],
  [0x0a, 'CKR_CANT_LOCK'],
  [0x10, 'CKR_ATTRIBUTE_READ_ONLY'],
  [0x11, 'CKR_ATTRIBUTE_SENSITIVE'],
  [0x12, 'CKR_ATTRIBUTE_TYPE_INVALID'],
  [0x13, 'CKR_ATTRIBUTE_VALUE_INVALID'],
  [0x1b, 'CKR_ACTION_PROHIBITED'],
  [0x20, 'CKR_DATA_INVALID'],
  [0x21, 'CKR_DATA_LEN_RANGE', 'ERR_HSM_MECHANISM'],
  [0x30, 'CKR_DEVICE_ERROR', 'ERR_HSM_FAILED', 'if-repeated'],
  [0x31, 'CKR_DEVICE_MEMORY', 'ERR_HSM_FAILED', 'if-lasting', 'busy'],
  [0x32, 'CKR_DEVICE_REMOVED', 'ERR_HSM_TOKEN_NOT_FOUND', 'module'],
  [0x40, 'CKR_ENCRYPTED_DATA_INVALID'],
  [0x41, 'CKR_ENCRYPTED_DATA_LEN_RANGE'],
  [0x42, 'CKR_AEAD_DECRYPT_FAILED'],
  [0x50, 'CKR_FUNCTION_CANCELED', 'ERR_HSM_FAILED', 'session'],
  [0x51, 'CKR_FUNCTION_NOT_PARALLEL'],
  [0x54, 'CKR_FUNCTION_NOT_SUPPORTED'],
  [0x60, 'CKR_KEY_HANDLE_INVALID', 'ERR_HSM_SESSION_LOST', 'keys'],
  [0x62, 'CKR_KEY_SIZE_RANGE', 'ERR_HSM_MECHANISM'],
  [0x63, 'CKR_KEY_TYPE_INCONSISTENT', 'ERR_HSM_MECHANISM'],
  [0x64, 'CKR_KEY_NOT_NEEDED'],
  [0x65, 'CKR_KEY_CHANGED'],
  [0x66, 'CKR_KEY_NEEDED'],
  [0x67, 'CKR_KEY_INDIGESTIBLE'],
  [0x68, 'CKR_KEY_FUNCTION_NOT_PERMITTED', 'ERR_HSM_MECHANISM'],
  [0x69, 'CKR_KEY_NOT_WRAPPABLE'],
  [0x6a, 'CKR_KEY_UNEXTRACTABLE'],
  [0x70, 'CKR_MECHANISM_INVALID', 'ERR_HSM_MECHANISM'],
  [0x71, 'CKR_MECHANISM_PARAM_INVALID', 'ERR_HSM_MECHANISM'],
  [0x82, 'CKR_OBJECT_HANDLE_INVALID', 'ERR_HSM_SESSION_LOST', 'keys'],
  [0x90, 'CKR_OPERATION_ACTIVE', 'ERR_HSM_FAILED', 'session', 'busy'],
  [0x91, 'CKR_OPERATION_NOT_INITIALIZED', 'ERR_HSM_FAILED', 'session'],
  [0xa0, 'CKR_PIN_INCORRECT', 'ERR_HSM_PIN', 'stop'],
  [0xa1, 'CKR_PIN_INVALID', 'ERR_HSM_PIN', 'stop'],
  [0xa2, 'CKR_PIN_LEN_RANGE', 'ERR_HSM_PIN', 'stop'],
  [0xa3, 'CKR_PIN_EXPIRED', 'ERR_HSM_PIN', 'stop'],
  [0xa4, 'CKR_PIN_LOCKED', 'ERR_HSM_PIN', 'stop'],
  [0xb0, 'CKR_SESSION_CLOSED', 'ERR_HSM_SESSION_LOST', 'session'],
  [0xb1, 'CKR_SESSION_COUNT', 'ERR_HSM_FAILED', 'if-lasting', 'busy'],
  [0xb3, 'CKR_SESSION_HANDLE_INVALID', 'ERR_HSM_SESSION_LOST', 'session'],
  [0xb4, 'CKR_SESSION_PARALLEL_NOT_SUPPORTED'],
  [0xb5, 'CKR_SESSION_READ_ONLY'],
  [0xb6, 'CKR_SESSION_EXISTS'],
  [0xb7, 'CKR_SESSION_READ_ONLY_EXISTS'],
  [0xb8, 'CKR_SESSION_READ_WRITE_SO_EXISTS'],
  [0xc0, 'CKR_SIGNATURE_INVALID'],
  [0xc1, 'CKR_SIGNATURE_LEN_RANGE'],
  [0xd0, 'CKR_TEMPLATE_INCOMPLETE'],
  [0xd1, 'CKR_TEMPLATE_INCONSISTENT'],
  [0xe0, 'CKR_TOKEN_NOT_PRESENT', 'ERR_HSM_TOKEN_NOT_FOUND', 'module'],
  [0xe1, 'CKR_TOKEN_NOT_RECOGNIZED', 'ERR_HSM_TOKEN_NOT_FOUND', 'module'],
  [0xe2, 'CKR_TOKEN_WRITE_PROTECTED'],
  [0xf0, 'CKR_UNWRAPPING_KEY_HANDLE_INVALID'],
  [0xf1, 'CKR_UNWRAPPING_KEY_SIZE_RANGE'],
  [0xf2, 'CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT'],
  [0x100, 'CKR_USER_ALREADY_LOGGED_IN'],
  [0x101, 'CKR_USER_NOT_LOGGED_IN', 'ERR_HSM_SESSION_LOST', 'login'],
  [0x102, 'CKR_USER_PIN_NOT_INITIALIZED', 'ERR_HSM_PIN', 'stop'],
  [0x103, 'CKR_USER_TYPE_INVALID', 'ERR_HSM_PIN', 'stop'],
  [0x104, 'CKR_USER_ANOTHER_ALREADY_LOGGED_IN', 'ERR_HSM_PIN', 'stop'],
  [0x105, 'CKR_USER_TOO_MANY_TYPES', 'ERR_HSM_PIN', 'stop'],
  [0x110, 'CKR_WRAPPED_KEY_INVALID'],
  [0x112, 'CKR_WRAPPED_KEY_LEN_RANGE'],
  [0x113, 'CKR_WRAPPING_KEY_HANDLE_INVALID'],
  [0x114, 'CKR_WRAPPING_KEY_SIZE_RANGE'],
  [0x115, 'CKR_WRAPPING_KEY_TYPE_INCONSISTENT'],
  [0x120, 'CKR_RANDOM_SEED_NOT_SUPPORTED'],
  [0x121, 'CKR_RANDOM_NO_RNG'],
  [0x130, 'CKR_DOMAIN_PARAMS_INVALID'],
  [0x140, 'CKR_CURVE_NOT_SUPPORTED'],
  [0x150, 'CKR_BUFFER_TOO_SMALL'],
  [0x160, 'CKR_SAVED_STATE_INVALID'],
  [0x170, 'CKR_INFORMATION_SENSITIVE'],
  [0x180, 'CKR_STATE_UNSAVEABLE'],
  [0x190, 'CKR_CRYPTOKI_NOT_INITIALIZED', 'ERR_HSM_SESSION_LOST', 'module'],
  [0x191, 'CKR_CRYPTOKI_ALREADY_INITIALIZED'],
  [0x1a0, 'CKR_MUTEX_BAD', 'ERR_HSM_FAILED', 'if-repeated'],
  [0x1a1, 'CKR_MUTEX_NOT_LOCKED', 'ERR_HSM_FAILED', 'if-repeated'],
  [0x1b0, 'CKR_NEW_PIN_MODE', 'ERR_HSM_PIN', 'stop'],
  [0x1b1, 'CKR_NEXT_OTP', 'ERR_HSM_PIN', 'stop'],
  [0x1b5, 'CKR_EXCEEDED_MAX_ITERATIONS'],
  [0x1b6, 'CKR_FIPS_SELF_TEST_FAILED', 'ERR_HSM_FAILED', 'if-repeated'],
  [0x1b7, 'CKR_LIBRARY_LOAD_FAILED', 'ERR_HSM_MODULE'],
  [0x1b8, 'CKR_PIN_TOO_WEAK', 'ERR_HSM_PIN', 'stop'],
  [0x1b9, 'CKR_PUBLIC_KEY_INVALID'],
  [0x200, 'CKR_FUNCTION_REJECTED', 'ERR_HSM_FAILED', 'if-lasting'],
  [0x201, 'CKR_TOKEN_RESOURCE_EXCEEDED', 'ERR_HSM_FAILED', 'if-lasting', 'busy'],
  [0x202, 'CKR_OPERATION_CANCEL_FAILED'],
  [0x203, 'CKR_KEY_EXHAUSTED'],
]

const rows: ReadonlyMap<number, ReturnValue> = new Map(
  TABLE.map(([rv, name, code = 'ERR_HSM_FAILED', action = 'fail-over', busy]) => [
    rv,
    { name, code, action, busy: busy !== undefined },
  ]),
)
