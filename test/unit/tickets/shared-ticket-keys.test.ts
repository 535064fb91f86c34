/** What a node asks of the place and of the HSM while something is wrong with them: little, and less each time. */

import { pino } from 'pino'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { HsmError, TicketsError } from '../../../src/errors.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { scheduleFor } from '../../../src/tickets/schedule.ts'
import { SharedTicketKeys } from '../../../src/tickets/shared-ticket-keys.ts'
import type { Store } from '../../../src/tickets/store.ts'
import type { WrappingKey } from '../../../src/tickets/wrapping-key.ts'

const MINUTE_MS = 60_000

let place: Place
let key: Key
let node: SharedTicketKeys

beforeEach(() => {
  vi.useFakeTimers()
  place = new Place()
  key = new Key()
  node = new SharedTicketKeys({
    store: place,
    key,
    // The shortest there is: a look a second, and due after a minute.
    schedule: scheduleFor(MINUTE_MS),
    log: pino({ level: 'silent' }),
    metrics: createMetrics(),
    apply: () => {},
  })
})
afterEach(async () => {
  await node.close()
  vi.useRealTimers()
})

test('a rotation that the HSM fails is tried again after seconds, then after more', async () => {
  await node.look()
  key.failure = new HsmError('ERR_HSM_KEY_NOT_FOUND', 'gone')
  await vi.advanceTimersByTimeAsync(MINUTE_MS)
  key.wraps = 0

  await vi.advanceTimersByTimeAsync(10_000)
  expect(key.wraps).toBeGreaterThan(0)
  expect(key.wraps).toBeLessThan(7)

  await vi.advanceTimersByTimeAsync(10 * MINUTE_MS)
  key.wraps = 0
  await vi.advanceTimersByTimeAsync(MINUTE_MS)
  expect(key.wraps).toBeGreaterThan(0)
  expect(key.wraps).toBeLessThan(5)
  expect(node.status().problem?.code).toBe('ERR_HSM_KEY_NOT_FOUND')
})

test('so is one that the place has no room for, and the first set of all', async () => {
  place.full = true
  await node.look()

  await vi.advanceTimersByTimeAsync(MINUTE_MS)

  expect(place.writes).toBeGreaterThan(3)
  expect(place.writes).toBeLessThan(12)
  expect(node.status().problem?.code).toBe('ERR_TICKETS_PLACE')
  place.full = false
  await vi.advanceTimersByTimeAsync(MINUTE_MS)
  expect(node.status()).toMatchObject({ inUse: 'shared', problem: undefined })
})

test('when an HSM comes up it is tried at once', async () => {
  key.failure = new HsmError('ERR_HSM_HOST_EXITED', 'away')
  await node.look()
  await vi.advanceTimersByTimeAsync(5 * MINUTE_MS)
  key.failure = undefined

  await node.hsmChanged()

  expect(node.status()).toMatchObject({ inUse: 'shared', problem: undefined })
})

test('a place that cannot be read when a rotation is due is looked at no more often than ever', async () => {
  await node.look()
  // Due, and this node's little while has passed before anything is written.
  key.failure = new HsmError('ERR_HSM_KEY_NOT_FOUND', 'gone')
  await vi.advanceTimersByTimeAsync(MINUTE_MS + 5000)
  place.away = true
  place.reads = 0

  await vi.advanceTimersByTimeAsync(10_000)

  expect(place.reads).toBeGreaterThanOrEqual(10)
  expect(place.reads).toBeLessThanOrEqual(20)
})

class Place implements Store {
  readonly name = 'place'
  reads = 0
  writes = 0
  away = false
  full = false
  #text: string | undefined

  async read(): Promise<string | undefined> {
    this.reads++
    if (this.away) throw new TicketsError('ERR_TICKETS_PLACE', 'away')
    return this.#text
  }

  async replace(before: string | undefined, after: string): Promise<boolean> {
    this.writes++
    if (this.full) throw new TicketsError('ERR_TICKETS_PLACE', 'full')
    if (this.#text !== before) return false
    this.#text = after
    return true
  }

  async isWritable(): Promise<boolean> {
    return true
  }

  async close(): Promise<void> {}
}

/** Wraps nothing; the place tells nobody. */
class Key implements WrappingKey {
  readonly uri = 'pkcs11:object=tickets'
  wraps = 0
  failure: HsmError | undefined

  async wrap(_header: Uint8Array, keys: Uint8Array): Promise<Buffer> {
    this.wraps++
    if (this.failure !== undefined) throw this.failure
    return Buffer.from(keys)
  }

  async unwrap(_header: Uint8Array, wrapped: Uint8Array): Promise<Buffer> {
    return Buffer.from(wrapped)
  }
}
