/** Ticket keys are not worth signatures: how often a proxy asks HSMs that hang, or recover, when they are asked to wrap. */

import { beforeEach, describe, expect, test } from 'vitest'
import { HsmError } from '../../../src/errors.ts'
import { WrappingKey } from '../../../src/hsm/wrapping-key.ts'

const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const HANGS = new HsmError('ERR_HSM_SIGN_TIMEOUT', 'did not wrap within 2000 ms')
const LOST = new HsmError('ERR_HSM_SESSION_LOST', 'C_EncryptInit returned CKR_SESSION_HANDLE_INVALID')

class Member {
  isUp = true
  asked = 0
  failure: HsmError | undefined

  async wrap(): Promise<Buffer> {
    if (!this.isUp) throw new HsmError('ERR_HSM_HOST_EXITED', 'host killed')
    this.asked++
    if (this.failure !== undefined) throw this.failure
    return Buffer.from('wrapped')
  }
}

let nowMs = 0
let a: Member
let b: Member
beforeEach(() => {
  a = new Member()
  b = new Member()
})

describe('a proxy', () => {
  test('leaves an HSM that has hung alone for a minute, and then for longer and longer', async () => {
    a.failure = HANGS
    const key = keyIn({ a })
    const seen: number[] = []

    for (let hours = 0; hours < 6; hours++) {
      const before = a.asked
      await outcomes(key, 60 * MINUTE_MS)
      seen.push(a.asked - before)
    }

    // Jittered: after 1-2 min, 2-4, 4-8, 8-16, then 15-30.
    expect(seen[0]).toBeGreaterThanOrEqual(4)
    expect(seen[0]).toBeLessThanOrEqual(8)
    for (const inAnHour of seen.slice(2)) expect(inAnHour).toBeLessThanOrEqual(4)
    expect(seen.at(-1)).toBeGreaterThanOrEqual(1)
  })

  test('does not go straight on to the next HSM, and asks that while the first is left alone', async () => {
    a.failure = HANGS
    const key = keyIn({ a, b })

    expect(await outcomes(key, 25 * SECOND_MS)).toEqual(new Set(['ERR_HSM_SIGN_TIMEOUT']))
    expect([a.asked, b.asked]).toEqual([1, 0])
    nowMs += 6 * SECOND_MS
    expect(await outcomes(key, 20 * SECOND_MS)).toEqual(new Set(['ok']))
    expect(a.asked).toBe(1)
  })

  test('asks as ever when it has worked again', async () => {
    a.failure = HANGS
    const key = keyIn({ a })
    await outcomes(key, 60 * MINUTE_MS)
    a.failure = undefined
    await outcomes(key, 30 * MINUTE_MS)
    a.failure = HANGS
    await expect(key.wrap(HEADER, KEYS)).rejects.toThrow('did not wrap within 2000 ms')
    a.failure = undefined

    nowMs += 2 * MINUTE_MS

    await expect(key.wrap(HEADER, KEYS)).resolves.toBeDefined()
  })

  test('says what it waits for', async () => {
    a.failure = HANGS
    const key = keyIn({ a })
    await expect(key.wrap(HEADER, KEYS)).rejects.toBe(HANGS)

    await expect(key.wrap(HEADER, KEYS)).rejects.toMatchObject({
      code: 'ERR_HSM_SIGN_TIMEOUT',
      message: expect.stringMatching(/^did not wrap within 2000 ms; nobody asks again for \d+ s$/),
    })
  })

  test('asks one that has to recover for it again after seconds, then after more', async () => {
    a.failure = LOST
    const key = keyIn({ a, b })

    expect(await outcomes(key, SECOND_MS)).toEqual(new Set(['ok']))
    await outcomes(key, 10 * MINUTE_MS)

    expect(a.asked).toBeGreaterThan(5)
    expect(a.asked).toBeLessThan(20)
  })

  test('takes no HSM that is not up for one that has hung', async () => {
    a.isUp = false
    const key = keyIn({ a })
    expect(await outcomes(key, SECOND_MS)).toEqual(new Set(['ERR_HSM_HOST_EXITED']))
    a.isUp = true

    expect(await outcomes(key, SECOND_MS)).toEqual(new Set(['ok']))
  })
})

test('a command, for which no handshake waits, goes straight on to the next HSM', async () => {
  a.failure = HANGS
  const key = keyIn({ a, b }, { sparing: false })

  for (let time = 1; time <= 3; time++) {
    await expect(key.wrap(HEADER, KEYS)).resolves.toBeDefined()
    expect(a.asked).toBe(time)
  }
})

function keyIn(members: Record<string, Member>, { sparing = true } = {}): WrappingKey {
  return new WrappingKey({
    uri: 'pkcs11:object=tickets',
    hsms: Object.keys(members),
    member: (name) => members[name],
    timeoutMs: 2000,
    sparing,
    now: () => nowMs,
  })
}

/** Asks once a second for so long. */
async function outcomes(key: WrappingKey, forMs: number): Promise<Set<string>> {
  const codes = new Set<string>()
  for (const endMs = nowMs + forMs; nowMs < endMs; nowMs += SECOND_MS)
    codes.add(
      await key.wrap(HEADER, KEYS).then(
        () => 'ok',
        (error: HsmError) => error.code,
      ),
    )
  return codes
}

const HEADER = Buffer.from('header')
const KEYS = Buffer.alloc(160)
