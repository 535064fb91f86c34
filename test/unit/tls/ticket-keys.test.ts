/** Which keys the TLS threads get: the fleet's before the process's own, and never one that has been zeroed. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { TicketKeys } from '../../../src/tls/ticket-keys.ts'

let applied: string[][]
let views: (readonly Uint8Array[])[]
let keys: TicketKeys

beforeEach(() => {
  vi.useFakeTimers()
  applied = []
  views = []
  keys = new TicketKeys({
    rotationMs: 1000,
    apply: (given) => {
      applied.push(given.map(hex))
      views.push(given)
    },
  })
})
afterEach(() => {
  keys.close()
  vi.useRealTimers()
})

test('its own: the newest makes tickets, two before it open them, older ones are zeroed', () => {
  const first = views[0]?.[0]
  for (let turn = 1; turn <= 2; turn++) vi.advanceTimersByTime(1000)
  expect(applied.at(-1)?.[2]).toBe(applied[0]?.[0])

  vi.advanceTimersByTime(1000)

  expect(applied.at(-1)).toHaveLength(3)
  expect(applied.at(-1)).not.toContain(applied[0]?.[0])
  expect(first?.every((byte) => byte === 0)).toBe(true)
})

test('shared ones go first, and its own still open what it has made', () => {
  const own = applied[0]?.[0]
  keys.share({ first: filled(1), others: [filled(2), filled(3)] })
  expect(applied.at(-1)).toEqual([hex(filled(1)), hex(filled(2)), hex(filled(3)), own])

  vi.advanceTimersByTime(1000)

  expect(applied.at(-1)?.slice(0, 3)).toEqual([hex(filled(1)), hex(filled(2)), hex(filled(3))])
  expect(applied.at(-1)).toHaveLength(5)
})

test('without a shared first key its own makes tickets, and the fleet’s are opened all the same', () => {
  keys.share({ first: filled(1), others: [] })
  keys.share({ first: undefined, others: [filled(2)] })

  expect(applied.at(-1)).toEqual([applied[0]?.[0], hex(filled(2))])
})

test('all keys are distinct, of 80 bytes, and zeroed at the end; nothing is applied after it', () => {
  for (let turn = 0; turn < 10; turn++) keys.rotate()
  const all = new Set(applied.flat())
  expect(all.size).toBe(11)
  expect([...all].every((key) => key.length === 160)).toBe(true)
  const count = applied.length

  keys.close()
  keys.rotate()
  keys.share({ first: filled(1), others: [] })
  vi.advanceTimersByTime(5000)

  expect(applied).toHaveLength(count)
  expect(views.flat().every((key) => key.every((byte) => byte === 0))).toBe(true)
})

function filled(byte: number): Uint8Array {
  return new Uint8Array(80).fill(byte)
}

function hex(key: Uint8Array): string {
  return Buffer.from(key).toString('hex')
}
