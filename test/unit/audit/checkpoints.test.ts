/** When checkpoints are signed, with a key that takes longer than the interval, as in an outage. */

import { pino } from 'pino'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import { Chain, type Head, NO_HEAD } from '../../../src/audit/chain.ts'
import { Checkpoints } from '../../../src/audit/checkpoints.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import type { SigningKey, SignRequest } from '../../../src/signing.ts'
import { ecKeyPem } from '../../integration/audit/ec-key.ts'
import { MemoryKey } from '../../support/memory-key.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

test('checkpoints go on after an outage in which a signature took longer than the interval', async () => {
  const { checkpoints, key, record, covered } = log({ everyRecords: 10_000 })
  key.away = true
  record()
  await vi.advanceTimersByTimeAsync(EVERY_MS)
  expect(key.asked).toBe(1)
  // Falls due, and fails to be signed, while the first is being asked for.
  record()
  await vi.advanceTimersByTimeAsync(10 * SIGN_MS)
  expect(key.asked).toBeGreaterThan(2)

  key.away = false
  await vi.advanceTimersByTimeAsync(2 * SIGN_MS + EVERY_MS)

  expect(covered).toEqual([2])
  const { asked } = key
  await vi.advanceTimersByTimeAsync(10 * SIGN_MS)
  expect(key.asked).toBe(asked)
  await checkpoints.finish()
  expect(vi.getTimerCount()).toBe(0)
})

test('one that falls due by time during a signature is signed right after it', async () => {
  const { key, record, covered } = log({ everyRecords: 10_000 })
  record()
  await vi.advanceTimersByTimeAsync(EVERY_MS)
  record()

  await vi.advanceTimersByTimeAsync(2 * SIGN_MS)

  expect(covered).toEqual([1, 2])
  expect(key.asked).toBe(2)
})

test('records that come during a signature are covered without waiting for another', async () => {
  const { key, record, covered } = log({ everyRecords: 1 })
  record()
  await vi.advanceTimersByTimeAsync(1)
  record()
  record()

  await vi.advanceTimersByTimeAsync(2 * SIGN_MS)

  expect(covered).toEqual([1, 3])
  expect(key.asked).toBe(2)
  expect(vi.getTimerCount()).toBe(0)
})

test('a failure is tried again at the interval, not with every record', async () => {
  const { key, record } = log({ everyRecords: 1 })
  key.away = true
  record()
  for (let n = 0; n < 10; n++) {
    record()
    await vi.advanceTimersByTimeAsync(SIGN_MS / 10)
  }
  expect(key.asked).toBe(1)
  for (let n = 0; n < 10; n++) record()
  await vi.advanceTimersByTimeAsync(EVERY_MS - 1)

  expect(key.asked).toBe(1)
  await vi.advanceTimersByTimeAsync(1)
  expect(key.asked).toBe(2)
})

test('the last one covers what came during the one before, and nothing is signed after it', async () => {
  const { checkpoints, key, record, covered } = log({ everyRecords: 1 })
  record()
  await vi.advanceTimersByTimeAsync(1)
  record()

  const finished = checkpoints.finish()
  await vi.advanceTimersByTimeAsync(2 * SIGN_MS)
  await finished
  record()
  await vi.advanceTimersByTimeAsync(10 * SIGN_MS)

  expect(covered).toEqual([1, 2])
  expect(key.asked).toBe(2)
  expect(vi.getTimerCount()).toBe(0)
})

/** @param covered numbers of the records that checkpoints cover, in the order in which they were signed. */
function log({ everyRecords }: { everyRecords: number }) {
  const key = new SlowKey()
  const chain = new Chain(NO_HEAD)
  const covered: number[] = []
  const checkpoints = new Checkpoints({
    checkpoint: {
      key: { id: undefined, label: 'audit', uri: 'pkcs11:object=audit', hsms: ['hsm-a'] },
      spki: key.spki,
      everyMs: EVERY_MS,
      everyRecords,
    },
    key,
    signTimeoutMs: SIGN_MS,
    chain,
    record: (fields) => {
      const { covers }: { covers: Head } = JSON.parse(`{${fields}}`)
      covered.push(covers.seq)
    },
    log: pino({ level: 'silent' }),
    metrics: createMetrics(),
  })
  const record = (): void => {
    chain.append('sign', '')
    checkpoints.recorded()
  }
  return { checkpoints, key, record, covered }
}

/** Answers, or fails while its HSM is away, after as long as it may take. */
class SlowKey implements SigningKey {
  readonly #key = new MemoryKey(ecKeyPem())
  readonly spki = this.#key.spki
  readonly schemes = this.#key.schemes
  readonly ready = true
  asked = 0
  away = false

  async sign(request: SignRequest): Promise<Uint8Array> {
    this.asked++
    const signature = await this.#key.sign(request)
    await new Promise((resolve) => setTimeout(resolve, SIGN_MS))
    if (this.away) throw new Error('no HSM answers')
    return signature
  }
}

const EVERY_MS = 1000
const SIGN_MS = 2000
