import { describe, expect, test } from 'vitest'

import { FrameError } from '../../../src/hsm/frame-reader.ts'
import { parseReady, parseRecovering, type RecoveringMessage } from '../../../src/hsm/messages.ts'

const problem = {
  code: 'ERR_HSM_FAILED',
  message: 'C_Sign returned …',
  rv: 0x30,
  call: 'C_Sign',
  final: false,
} as const
const recovering: RecoveringMessage = { rung: 'keys', attempt: 2, problem }

describe('what a host says of its recovery', () => {
  test('arrives as it was said', () => {
    expect(parseRecovering(payload(recovering))).toEqual(recovering)
  })

  test.each([
    ['a rung that is none', { ...recovering, rung: 'stairs' }],
    ['a new process, which is not the host’s to start', { ...recovering, rung: 'host' }],
    ['no reason', { ...recovering, problem: null }],
    ['a reason with a code of others', { ...recovering, problem: { ...problem, code: 'ERR_TLS_LISTEN' } }],
    ['a number of rungs that is none', { ...recovering, attempt: -1 }],
    ['no object', 'keys'],
  ])('is refused with %s', (_, message) => {
    expect(() => parseRecovering(payload(message))).toThrow(FrameError)
  })

  test('a login is one only if the host says so', () => {
    const ready = { token: { label: 'web', serial: '1' }, openingMs: 300, sessions: 1, keys: [] }

    expect(parseReady(payload(ready)).loggedIn).toBe(false)
    expect(parseReady(payload({ ...ready, loggedIn: true })).loggedIn).toBe(true)
  })
})

function payload(message: unknown): Buffer {
  return Buffer.from(JSON.stringify(message))
}
