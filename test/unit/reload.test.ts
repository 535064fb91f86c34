/** When a change is tried: one at a time, once more if asked meanwhile, and again by itself when an HSM may be back. */

import { writeFileSync } from 'node:fs'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import type { Config } from '../../src/config/config.ts'
import { HsmError } from '../../src/errors.ts'
import { createMetrics, type Metrics } from '../../src/metrics/metrics.ts'
import { Reloads } from '../../src/reload.ts'
import { type ConfigFixture, configFixture, GOOD } from './config/config-fixture.ts'

const AGAIN_MS = 60_000
const AWAY = new HsmError('ERR_HSM_TOKEN_NOT_FOUND', 'hsm "hsm-a": no token', { hsm: 'hsm-a' })

let fixture: ConfigFixture
let config: Config
let applied: { next: Config; signal: AbortSignal; end: (error?: Error) => void }[]
let lines: Record<string, unknown>[]
let metrics: Metrics
let reloads: Reloads

beforeAll(() => {
  fixture = configFixture()
  return () => fixture[Symbol.dispose]()
})

beforeEach(async () => {
  config = await fixture.load(`${GOOD}reload: { watch: off }\n`)
  ;[applied, lines, metrics] = [[], [], createMetrics()]
  reloads = new Reloads({
    config,
    apply: (next, signal) =>
      new Promise((resolve, reject) => {
        const end = (error?: Error): void => (error === undefined ? resolve({}) : reject(error))
        signal.addEventListener('abort', () => reject(new Error('given up')))
        applied.push({ next, signal, end })
      }),
    log: pino({ level: 'info' }, { write: (line) => lines.push(JSON.parse(line)) }),
    metrics,
  })
})

afterEach(async () => {
  vi.useRealTimers()
  await reloads.close()
})

afterAll(() => vi.useRealTimers())

test('what is asked for during the start is done when everything has started', async () => {
  reloads.request('HUP')
  await settled()
  expect(applied).toHaveLength(0)

  reloads.begin()
  await expect.poll(() => applied.length).toBe(1)
  applied[0]?.end()
})

test('ten requests during one are one more', async () => {
  reloads.begin()
  for (let hup = 0; hup < 11; hup++) reloads.request('HUP')
  await expect.poll(() => applied.length).toBe(1)
  applied[0]?.end()
  await expect.poll(() => applied.length).toBe(2)
  applied[1]?.end()

  await expect.poll(() => reloads.status()).toMatchObject({ running: false, last: { result: 'ok' } })
  expect(applied).toHaveLength(2)
})

test('a changed file is taken with the configuration as it was read last, a HUP with its text of now', async () => {
  reloads.begin()
  writeFileSync(config.file, `${config.text}drain_timeout: 7s\n`)

  reloads.request('files')
  await expect.poll(() => applied.length).toBe(1)
  expect(applied[0]?.next.drainTimeoutMs).toBe(config.drainTimeoutMs)
  reloads.request('files')
  reloads.request('HUP')
  applied[0]?.end()
  await expect.poll(() => applied.length).toBe(2)

  expect(applied[1]?.next.drainTimeoutMs).toBe(7_000)
  applied[1]?.end()
})

test('an HSM that is away is tried again in a minute, and said once', async () => {
  reloads.begin()
  reloads.request('files')
  await expect.poll(() => applied.length).toBe(1)
  vi.useFakeTimers()
  for (let attempt = 0; attempt < 3; attempt++) {
    applied[attempt]?.end(AWAY)
    await vi.advanceTimersByTimeAsync(AGAIN_MS)
  }
  applied[3]?.end()
  await vi.advanceTimersByTimeAsync(AGAIN_MS)

  expect(applied).toHaveLength(4)
  expect(lines.map(({ msg }) => msg)).toEqual(['not reloaded: the old configuration goes on', 'reloaded'])
  expect((await metrics.reloads.get()).values).toMatchObject([
    { labels: { result: 'ok' }, value: 1 },
    { labels: { result: 'refused' }, value: 3 },
  ])
})

test.each([
  ['a refused PIN', new HsmError('ERR_HSM_PIN', 'refused')],
  ['what no time heals', new Error('not a certificate')],
])('%s is not tried again', async (_, error) => {
  reloads.begin()
  reloads.request('files')
  await expect.poll(() => applied.length).toBe(1)
  vi.useFakeTimers()
  applied[0]?.end(error)
  await vi.advanceTimersByTimeAsync(3 * AGAIN_MS)

  expect(applied).toHaveLength(1)
})

test('a refused configuration is not hidden by a file that is taken up', async () => {
  const successful = async () => (await metrics.lastReloadSuccessful.get()).values[0]?.value
  reloads.note('HUP', ['wrong'])
  reloads.note('files', undefined)
  reloads.note('client CAs', undefined)
  expect(await successful()).toBe(0)

  reloads.note('HUP', undefined)
  expect(await successful()).toBe(1)
})

test('close gives up what is under way, and says nothing of it', async () => {
  reloads.begin()
  reloads.request('HUP')
  await expect.poll(() => applied.length).toBe(1)

  await reloads.close()
  reloads.request('HUP')
  await settled()

  expect(applied[0]?.signal.aborted).toBe(true)
  expect(applied).toHaveLength(1)
  expect(lines).toEqual([])
})

function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 20))
}
