/**
 * The HTTP worker threads as the main thread sees them: the built worker with the real addon, without traffic
 * (the e2e tests bring that). Needs `npm run build`.
 */

import { existsSync } from 'node:fs'
import { type Logger, pino } from 'pino'
import { AggregatorRegistry } from 'prom-client'
import { beforeAll, expect, test, vi } from 'vitest'
import { loadAddon } from '../../../src/native/addon.ts'
import type { WorkerOptions } from '../../../src/proxy/messages.ts'
import { HttpWorkers } from '../../../src/proxy/workers.ts'

const BUILT = new URL('../../../dist/proxy/worker.js', import.meta.url)
const CRASHING = new URL('support/crashing-worker.mjs', import.meta.url)
const COUNTING = new URL('support/counting-worker.mjs', import.meta.url)

beforeAll(() => {
  if (!existsSync(BUILT)) throw new Error('the worker is not built: run npm run build')
  // As in the program: the addon outlives its workers, and never gives a receiver's id twice.
  loadAddon()
})

const quiet = pino({ enabled: false })

function workers(
  options: {
    count?: number
    entry?: URL
    route?: string
    onReceivers?: (ids: readonly number[]) => void
  } = {},
  log: Logger = quiet,
): HttpWorkers {
  const { count = 1, entry = BUILT, route = 'web', onReceivers = () => {} } = options
  const routes = [{ host: undefined, path: undefined, upstream: route }]
  const http = { name: 'web', routes, maxHeaderBytes: 16_384, headerTimeoutMs: 1_000, keepAliveMs: 1_000 }
  const worker: WorkerOptions = {
    listeners: [{ id: 1, http }],
    upstreams: [
      {
        name: 'web',
        servers: [{ scheme: 'http', host: '127.0.0.1', port: 9 }],
        balance: 'round-robin',
        connectTimeoutMs: 1_000,
        responseTimeoutMs: 1_000,
        keepAliveMs: 1_000,
        connections: 1,
        idleTimeoutMs: 1_000,
        proxyHeader: undefined,
      },
    ],
    log: { access: false },
  }
  return new HttpWorkers({ count, worker, log, onReceivers, entry })
}

test('each worker has a receiver of its own, and answers with its metrics', async () => {
  const http = workers({ count: 2 })

  const receivers = await http.start()
  const metrics = await http.metrics()

  expect(new Set(receivers).size).toBe(2)
  expect(metrics).toHaveLength(2)
  const text = await AggregatorRegistry.aggregate(metrics).metrics()
  expect(text).toContain('# TYPE sealgate_requests_total counter')
  await http.close()
})

test('workers without connections drain at once, and close as often as one likes', async () => {
  const http = workers({ count: 2 })
  await http.start()

  await Promise.all([http.drain(), http.drain()])
  await Promise.all([http.close(), http.close()])

  expect(await http.metrics()).toEqual([])
})

test('a worker that cannot start makes the start fail with its reason', async () => {
  const http = workers({ route: 'nowhere' })

  await expect(http.start()).rejects.toThrow('upstream "nowhere"')
  await http.close()
})

test('a worker that crashes is taken out, logged and replaced by one with a new receiver', async () => {
  const changes: (readonly number[])[] = []
  const errors: unknown[] = []
  const log = pino({ base: null }, { write: (line) => errors.push(JSON.parse(line)) })
  const http = workers({ entry: CRASHING, onReceivers: (ids) => changes.push(ids) }, log)
  const [first] = await http.start()

  await vi.waitFor(() => expect(changes.flat()).not.toEqual([]), 20_000)
  await http.close()

  expect(changes[0]).toEqual([])
  expect(changes.flat()).not.toContain(first)
  expect(errors[0]).toMatchObject({ msg: 'an HTTP worker crashed', err: { message: 'crash on purpose' } })
})

test('no counter goes back while a worker does not answer, nor when it has crashed', async () => {
  const changes: (readonly number[])[] = []
  const http = workers({ entry: COUNTING, onReceivers: (ids) => changes.push(ids) })
  const requests = async (): Promise<number> => {
    const text = await AggregatorRegistry.aggregate(await http.metrics()).metrics()
    return Number(/^sealgate_requests_total\{.*\} (\d+)$/m.exec(text)?.[1] ?? 0)
  }
  await http.start()

  const [answered, hung, crashed] = [await requests(), await requests(), await requests()]
  const replaced = vi.waitFor(() => expect(changes.at(-1)).toEqual([1]), 20_000)
  const between = await requests()
  await replaced
  const twice = await requests()
  await http.close()

  expect({ answered, hung, crashed, between, twice }).toEqual({
    answered: 5,
    hung: 5,
    crashed: 5,
    between: 5,
    twice: 10,
  })
})
