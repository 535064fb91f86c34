/**
 * What a drill may command, in words for people, and how the fault module reads it.
 *
 *   CALL EFFECT [ARGUMENT] [always | times N | probability P]
 *
 * CALL is a PKCS#11 function that the module stands in front of, or `*` for all of them.
 */

import { randomInt } from 'node:crypto'
import { suggestion } from '../config/nearest.ts'
import { SealgateError } from '../errors.ts'
import { returnValueNumber } from '../hsm/ckr.ts'

/** The functions in which p11-faults.c stands in front of the real module. */
export const CALLS = [
  'C_Initialize',
  'C_Finalize',
  'C_GetSlotList',
  'C_GetTokenInfo',
  'C_OpenSession',
  'C_CloseSession',
  'C_CloseAllSessions',
  'C_GetSessionInfo',
  'C_Login',
  'C_Logout',
  'C_GetAttributeValue',
  'C_FindObjectsInit',
  'C_FindObjects',
  'C_FindObjectsFinal',
  'C_DestroyObject',
  'C_GenerateKey',
  'C_GenerateKeyPair',
  'C_EncryptInit',
  'C_Encrypt',
  'C_DecryptInit',
  'C_Decrypt',
  'C_SignInit',
  'C_Sign',
] as const

interface Effect {
  /** The only call it makes sense for; undefined: for each, and for `*`. */
  readonly call?: string
  /** What the fault module calls it, where that is something else. */
  readonly word?: string
  readonly argument?: Argument
  /** Happens once: the fault module tells one from the next by a number. */
  readonly event?: boolean
  readonly does: string
}

interface Argument {
  /** As help shows it. */
  readonly shown: string
  /** @returns what the fault module reads, undefined when the word is none. */
  read(word: string): string | undefined
}

export const EFFECTS: Readonly<Record<string, Effect>> = {
  fail: {
    word: 'rv',
    argument: { shown: 'CKR_…', read: readReturnValue },
    does: 'returns that instead of asking the HSM',
  },
  delay: {
    argument: { shown: '5ms or 5ms-20ms', read: readDelay },
    does: 'waits first, as long or at random between the two (us, ms, s)',
  },
  hang: { does: 'never returns' },
  crash: { does: 'segmentation fault of the host process' },
  exit: { argument: { shown: 'STATUS', read: numberUpTo(255) }, does: 'ends the host process' },
  wrong: { call: 'C_Sign', does: 'turns one bit of the signature' },
  short: { call: 'C_Sign', does: 'leaves out the last byte of the signature' },
  rate: {
    call: 'C_Sign',
    argument: { shown: 'N', read: readRate },
    does: 'more than N a second get CKR_FUNCTION_FAILED, as a throttled CloudHSM says; N is 10 or more',
  },
  cap: {
    call: 'C_OpenSession',
    argument: { shown: 'N', read: numberUpTo(0xffff) },
    does: 'CKR_SESSION_COUNT for more than N open sessions',
  },
  'read-only-refused': {
    call: 'C_OpenSession',
    does: 'CKR_TOKEN_WRITE_PROTECTED unless the session is read-write',
  },
  flags: {
    call: 'C_GetTokenInfo',
    argument: { shown: 'CKF_…', read: readTokenFlag },
    does: 'sets it: CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY or CKF_USER_PIN_LOCKED',
  },
  removed: { call: '*', does: 'no slot has a token' },
  reboot: { call: '*', event: true, does: 'once: the sessions and handles of before are invalid' },
  logout: { call: '*', event: true, does: 'once: nobody is logged in any more' },
}

/**
 * @param rules one each.
 * @returns the same in the fault module's words.
 * @throws {SealgateError} `ERR_USAGE` with everything that is wrong, by rule and word, counted from 1.
 */
export function moduleRules(rules: readonly string[]): string[] {
  const problems: string[] = []
  const lines = rules.map((rule, index) => {
    const read = readRule(rule.trim().split(/\s+/))
    if (typeof read === 'string') return read
    problems.push(`rule ${index + 1}, word ${read.word}: ${read.message}`)
    return ''
  })
  if (problems.length > 0) throw new SealgateError('ERR_USAGE', problems.join('\n'))
  return lines
}

interface Mistake {
  readonly word: number
  readonly message: string
}

function readRule(words: readonly string[]): string | Mistake {
  const [call = '', name = '', ...rest] = words
  if (call !== '*' && !CALLS.some((known) => known === call))
    return {
      word: 1,
      message: `"${call}" is no call: take one of ${CALLS.join(' ')}, or *${suggestion(call, CALLS)}`,
    }
  const effect = Object.hasOwn(EFFECTS, name) ? EFFECTS[name] : undefined
  if (effect === undefined) {
    const names = Object.keys(EFFECTS)
    return {
      word: 2,
      message: `"${name}" is no effect: take one of ${names.join(' ')}${suggestion(name, names)}`,
    }
  }
  if (effect.call !== undefined && effect.call !== call)
    return { word: 1, message: `"${name}" is an effect of ${effect.call} only` }

  const said = [call, effect.word ?? name]
  if (effect.event) said.push(String(randomInt(1, MAX_EVENT)))
  const { argument } = effect
  if (argument !== undefined) {
    const value = argument.read(rest[0] ?? '')
    if (value === undefined)
      return { word: 3, message: `"${rest[0] ?? ''}" is no ${argument.shown}${hint(rest[0])}` }
    said.push(value)
  }
  const frequency = rest.slice(argument === undefined ? 0 : 1)
  const often = readFrequency(frequency)
  if (often === undefined) {
    const text = frequency.join(' ')
    return {
      word: words.length - frequency.length + 1,
      message: `"${text}" is not one of always, times N, probability P (0 to 1)`,
    }
  }
  return [...said, ...often].join(' ')
}

function readFrequency(words: readonly string[]): string[] | undefined {
  const [kind = 'always', value = '', ...rest] = words
  if (rest.length > 0) return undefined
  if (kind === 'always') return value === '' ? [] : undefined
  if (kind === 'times') return /^[1-9]\d{0,8}$/.test(value) ? [kind, value] : undefined
  if (kind === 'probability') return /^(?:0?\.\d{1,9}|[01](?:\.0+)?)$/.test(value) ? [kind, value] : undefined
  return undefined
}

function readReturnValue(word: string): string | undefined {
  const named = returnValueNumber(word)
  // A vendor's own.
  const rv = named ?? (/^0x[0-9a-f]{1,8}$/i.test(word) ? Number(word) : undefined)
  return rv === undefined || rv === 0 ? undefined : `0x${rv.toString(16)}`
}

function readDelay(word: string): string | undefined {
  const [from, to, ...more] = word.split('-').map(microseconds)
  if (from === undefined || more.length > 0) return undefined
  if (!word.includes('-')) return String(from)
  return to !== undefined && to >= from ? `${from}-${to}` : undefined
}

function microseconds(text: string): number | undefined {
  const [, digits, unit = ''] = /^(\d{1,9})(us|ms|s)$/.exec(text) ?? []
  return digits === undefined ? undefined : Number(digits) * ({ us: 1, ms: 1_000, s: 1_000_000 }[unit] ?? 1)
}

function readRate(word: string): string | undefined {
  return Number(word) >= 10 ? numberUpTo(1_000_000)(word) : undefined
}

function readTokenFlag(word: string): string | undefined {
  return TOKEN_FLAGS[word]
}

function numberUpTo(limit: number): (word: string) => string | undefined {
  return (word) => (/^\d{1,9}$/.test(word) && Number(word) <= limit ? word : undefined)
}

function hint(word = ''): string {
  if (word.startsWith('CKF_')) return suggestion(word, Object.keys(TOKEN_FLAGS))
  return word.startsWith('CKR_') ? ' (names as in PKCS#11, e.g. CKR_DEVICE_ERROR, or a number: 0x30)' : ''
}

/** The fault module keeps it in 16 bits of its handles. */
const MAX_EVENT = 0xffff
/** CK_TOKEN_INFO, PKCS#11 v3.1. */
const TOKEN_FLAGS: Readonly<Record<string, string>> = {
  CKF_USER_PIN_COUNT_LOW: '0x10000',
  CKF_USER_PIN_FINAL_TRY: '0x20000',
  CKF_USER_PIN_LOCKED: '0x40000',
}
