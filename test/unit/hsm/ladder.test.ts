/** The policy of the recovery ladder as sequences: what happens, when, and which rung it takes. */

import { describe, expect, test } from 'vitest'

import { CKR, type Rung, returnValue } from '../../../src/hsm/ckr.ts'
import { HOST_AFTER_MS, LASTING_MS, Ladder, PROOF_MS } from '../../../src/hsm/host/ladder.ts'

const RV = {
  DEVICE_ERROR: 0x30,
  FUNCTION_FAILED: 0x06,
  SESSION_HANDLE_INVALID: 0xb3,
  USER_NOT_LOGGED_IN: 0x101,
  OBJECT_HANDLE_INVALID: 0x82,
  TOKEN_NOT_PRESENT: 0xe0,
  MECHANISM_INVALID: 0x70,
  PIN_INCORRECT: 0xa0,
  VENDOR: 0x8000_0123,
} as const
type What = keyof typeof RV | 'signed' | 'rung failed' | 'rung done'
/** The rung that was taken; `-` for none. */
type Step = readonly [atMs: number, what: What, rung?: Rung | '-']

const SEQUENCES: Readonly<Record<string, readonly Step[]>> = {
  'an error that says what is wrong starts at its rung': [
    [0, 'SESSION_HANDLE_INVALID', 'session'],
    [1, 'rung done'],
  ],
  'a lost login starts with the login': [[0, 'USER_NOT_LOGGED_IN', 'login']],
  'a stale handle starts with the keys': [[0, 'OBJECT_HANDLE_INVALID', 'keys']],
  'a token that is gone starts with the module': [[0, 'TOKEN_NOT_PRESENT', 'module']],
  'a rung that does not help is followed by the next': [
    [0, 'SESSION_HANDLE_INVALID', 'session'],
    [10, 'rung done'],
    [12, 'SESSION_HANDLE_INVALID', 'login'],
    [20, 'rung done'],
    [22, 'SESSION_HANDLE_INVALID', 'keys'],
    [30, 'rung done'],
    [32, 'SESSION_HANDLE_INVALID', 'module'],
  ],
  'a rung that fails itself is followed by the next': [
    [0, 'SESSION_HANDLE_INVALID', 'session'],
    [10, 'rung failed', 'login'],
    [20, 'rung failed', 'keys'],
    [30, 'rung failed', 'module'],
  ],
  'a later error that names a higher rung goes straight there': [
    [0, 'SESSION_HANDLE_INVALID', 'session'],
    [10, 'rung done'],
    [12, 'TOKEN_NOT_PRESENT', 'module'],
  ],
  'a later error that names a lower rung never goes back': [
    [0, 'OBJECT_HANDLE_INVALID', 'keys'],
    [10, 'rung done'],
    [12, 'USER_NOT_LOGGED_IN', 'module'],
  ],
  'one hiccup takes no rung': [
    [0, 'DEVICE_ERROR', '-'],
    [1, 'DEVICE_ERROR', '-'],
    [5, 'signed'],
    [300, 'DEVICE_ERROR', '-'],
  ],
  'the first word of an outage does, with the second': [
    [0, 'DEVICE_ERROR', '-'],
    [150, 'DEVICE_ERROR', 'session'],
    [160, 'rung done'],
    [161, 'DEVICE_ERROR', 'login'],
  ],
  'CKR_DEVICE_ERROR once, then CKR_SESSION_HANDLE_INVALID for ever': [
    [0, 'DEVICE_ERROR', '-'],
    [2, 'SESSION_HANDLE_INVALID', 'session'],
    [10, 'rung done'],
    [11, 'SESSION_HANDLE_INVALID', 'login'],
  ],
  'a busy HSM that signs in between is left alone': [
    [0, 'FUNCTION_FAILED', '-'],
    [900, 'FUNCTION_FAILED', '-'],
    [950, 'signed'],
    [1500, 'FUNCTION_FAILED', '-'],
    [2400, 'FUNCTION_FAILED', '-'],
  ],
  'one that says nothing else for longer is not, and gets that time after every rung': [
    [0, 'FUNCTION_FAILED', '-'],
    [LASTING_MS, 'FUNCTION_FAILED', 'session'],
    [1600, 'rung done'],
    [1700, 'FUNCTION_FAILED', '-'],
    [3200, 'FUNCTION_FAILED', 'login'],
  ],
  'a value that only its vendor knows counts as busy': [
    [0, 'VENDOR', '-'],
    [LASTING_MS, 'VENDOR', 'session'],
  ],
  'a signature long after a rung shows that it helped: the next trouble starts anew': [
    [0, 'OBJECT_HANDLE_INVALID', 'keys'],
    [10, 'rung done'],
    [20, 'signed'],
    [11 + PROOF_MS, 'SESSION_HANDLE_INVALID', 'session'],
  ],
  'one right after it does not, when an error follows at once': [
    [0, 'SESSION_HANDLE_INVALID', 'session'],
    [10, 'rung done'],
    [20, 'signed'],
    [30, 'SESSION_HANDLE_INVALID', 'login'],
  ],
  'the module is tried again and again before the process goes': [
    [0, 'TOKEN_NOT_PRESENT', 'module'],
    [10, 'rung failed', 'module'],
    [5000, 'rung failed', 'module'],
    [HOST_AFTER_MS, 'rung failed', 'host'],
  ],
  'what is wrong with a request says nothing of the token': [
    [0, 'MECHANISM_INVALID', '-'],
    [500, 'MECHANISM_INVALID', '-'],
    [5000, 'MECHANISM_INVALID', '-'],
  ],
  'a refused PIN takes no rung, ever': [
    [0, 'PIN_INCORRECT', '-'],
    [500, 'PIN_INCORRECT', '-'],
  ],
}

describe('the ladder', () => {
  test.each(Object.entries(SEQUENCES))('%s', (_, steps) => {
    const ladder = new Ladder()
    for (const [atMs, what, expected] of steps) {
      const rung = step(ladder, what, atMs)
      if (expected !== undefined) expect(rung ?? '-', `${what} at ${atMs} ms`).toBe(expected)
    }
  })

  test('hundreds of failures in one moment take no rung for a hiccup', () => {
    const ladder = new Ladder()

    const rungs = Array.from({ length: 500 }, () => step(ladder, 'DEVICE_ERROR', 7))

    expect(rungs.every((rung) => rung === undefined)).toBe(true)
  })

  test('counts the rungs of one trouble', () => {
    const ladder = new Ladder()
    step(ladder, 'SESSION_HANDLE_INVALID', 0)
    step(ladder, 'rung failed', 1)

    expect(ladder.attempts).toBe(2)
    step(ladder, 'rung done', 2)
    step(ladder, 'signed', 3)
    step(ladder, 'SESSION_HANDLE_INVALID', 2 * PROOF_MS)
    expect(ladder.attempts).toBe(1)
  })
})

test('the names used here are those of the table', () => {
  for (const [name, rv] of Object.entries(RV)) {
    if (name !== 'VENDOR') expect(returnValue(rv).name).toBe(`CKR_${name}`)
  }
  expect(returnValue(CKR.OK).action).toBe('fail-over')
})

function step(ladder: Ladder, what: What, nowMs: number): Rung | undefined {
  switch (what) {
    case 'signed':
      ladder.succeeded()
      return undefined
    case 'rung done':
      ladder.done(nowMs)
      return undefined
    case 'rung failed':
      return ladder.next(nowMs)
    default:
      return ladder.failed(returnValue(RV[what]).action, nowMs)
  }
}
