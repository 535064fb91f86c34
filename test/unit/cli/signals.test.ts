/** Signals and a proxy that takes its time: one drains, the second does not wait, HUP reloads. */

import { EventEmitter } from 'node:events'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { type SignalSource, type Stoppable, serveUntilSignal } from '../../../src/cli/signals.ts'

/** A program whose steps end when the test says so. */
function scenario({ destroyed = Promise.resolve() } = {}) {
  const events: string[] = []
  const lines: string[] = []
  const signals = new EventEmitter()
  const started = deferred<void>()
  const drained = deferred<void>()
  const failed = deferred<never>()
  const app: Stoppable = {
    failed: failed.promise,
    reload: () => {
      events.push('reload')
    },
    drain: async () => {
      events.push('drain')
      await drained.promise
    },
    destroy: async () => {
      events.push('destroy')
      await destroyed
    },
  }
  const source: SignalSource = signals
  let stopping: AbortSignal | undefined
  const status = serveUntilSignal({
    signals: source,
    log: pino({}, { write: (line: string) => lines.push(line) }),
    stopMs: 50,
    start: async (signal) => {
      stopping = signal
      await started.promise
      events.push('started')
      return app
    },
  })
  const send = (signal: string) => signals.emit(signal, signal)
  const cut = () => stopping?.aborted
  return { events, lines, signals, cut, send, status, started, drained, failed }
}

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: Error) => void } {
  let settle: { resolve: (value: T) => void; reject: (error: Error) => void } | undefined
  const promise = new Promise<T>((resolve, reject) => {
    settle = { resolve, reject }
  })
  return { promise, resolve: (value) => settle?.resolve(value), reject: (error) => settle?.reject(error) }
}

test.each(['SIGTERM', 'SIGINT'])('%s drains, and the status is 0', async (signal) => {
  const { events, signals, send, status, started, drained } = scenario()
  started.resolve()
  await expect.poll(() => events).toEqual(['started'])

  send(signal)
  await expect.poll(() => events).toEqual(['started', 'drain'])
  drained.resolve()

  expect(await status).toBe(0)
  expect(events).toEqual(['started', 'drain'])
  expect(signals.eventNames()).toEqual([])
})

test('a second signal stops now, and the status says which', async () => {
  const { events, send, status, started } = scenario()
  started.resolve()
  await expect.poll(() => events).toEqual(['started'])

  send('SIGTERM')
  send('SIGINT')

  expect(await status).toBe(128 + 2)
  expect(events).toEqual(['started', 'drain', 'destroy'])
})

test('a signal during the start cuts it short, and drains', async () => {
  const { events, cut, send, status, started, drained } = scenario()
  expect(cut()).toBe(false)

  send('SIGTERM')
  expect(cut()).toBe(true)
  started.resolve()
  drained.resolve()

  expect(await status).toBe(0)
  expect(events).toEqual(['started', 'drain'])
})

test('a second signal during the start does not wait for it', async () => {
  const { events, send, status } = scenario()

  send('SIGTERM')
  send('SIGTERM')

  expect(await status).toBe(128 + 15)
  expect(events).toEqual([])
})

test('HUP reloads, each time', async () => {
  const { events, lines, send, status, started, drained } = scenario()
  started.resolve()
  await expect.poll(() => events).toEqual(['started'])

  send('SIGHUP')
  send('SIGHUP')
  expect(lines.join()).toContain('reloading')
  expect(events).toEqual(['started', 'reload', 'reload'])

  send('SIGTERM')
  drained.resolve()
  expect(await status).toBe(0)
})

test('HUP during the start reloads once it has started', async () => {
  const { events, send, status, started, drained } = scenario()

  send('SIGHUP')
  send('SIGHUP')
  started.resolve()
  await expect.poll(() => events).toEqual(['started', 'reload'])

  send('SIGTERM')
  drained.resolve()
  expect(await status).toBe(0)
})

test('HUP while it drains is ignored, and the log says so', async () => {
  const { events, lines, send, status, started, drained } = scenario()
  started.resolve()
  await expect.poll(() => events).toEqual(['started'])

  send('SIGTERM')
  send('SIGHUP')
  drained.resolve()

  expect(await status).toBe(0)
  expect(events).toEqual(['started', 'drain'])
  expect(lines.join()).toContain('not reloading: it is being stopped')
  expect(lines.join()).not.toContain('"reloading"')
})

test('HUP and then TERM during the start: it is not reloaded any more', async () => {
  const { events, send, status, started, drained } = scenario()

  send('SIGHUP')
  send('SIGTERM')
  started.resolve()
  drained.resolve()

  expect(await status).toBe(0)
  expect(events).toEqual(['started', 'drain'])
})

test('a failed start is thrown, and no signal is listened to any more', async () => {
  const { signals, status, started } = scenario()

  started.reject(new Error('port in use'))

  await expect(status).rejects.toThrow('port in use')
  expect(signals.eventNames()).toEqual([])
})

test('what fails after the start is stopped, and the reason is thrown', async () => {
  const { events, signals, status, started, failed } = scenario()
  started.resolve()
  await expect.poll(() => events).toEqual(['started'])

  failed.reject(new Error('every PIN was refused'))

  await expect(status).rejects.toThrow('every PIN was refused')
  expect(events).toEqual(['started', 'destroy'])
  expect(signals.eventNames()).toEqual([])
})

test('a second signal stops now although a part never ends', async () => {
  const { events, lines, send, status, started } = scenario({ destroyed: new Promise(() => {}) })
  started.resolve()
  await expect.poll(() => events).toEqual(['started'])

  send('SIGTERM')
  send('SIGTERM')

  expect(await status).toBe(128 + 15)
  expect(lines.join()).toContain('a part did not stop in time')
})

test('what fails after the start is thrown although a part never ends', async () => {
  const { status, started, failed } = scenario({ destroyed: new Promise(() => {}) })
  started.resolve()
  failed.reject(new Error('every PIN was refused'))

  await expect(status).rejects.toThrow('every PIN was refused')
})
