/**
 * An HTTP worker thread: receives connections from the TLS threads and gives them to an `HttpFront`.
 *
 * Started by workers.ts; `workerData` is a `WorkerOptions`. Ends when told to, with its log written out.
 */

import { Socket } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import { createAccessLog } from '../log.ts'
import { createMetrics, setTo } from '../metrics/metrics.ts'
import { loadAddon, type NativeEstablished } from '../native/addon.ts'
import { HttpFront, type HttpFrontState } from './front.ts'
import type { FromWorker, ToWorker, WorkerOptions } from './messages.ts'

const initial: WorkerOptions = workerData
const metrics = createMetrics()
const { log, flush, lostLines } = createAccessLog()
const { ConnectionReceiver, takeShortSlices } = loadAddon()
takeShortSlices()
const receiver = new ConnectionReceiver(accept)
const front = new HttpFront({
  ...stateOf(initial),
  metrics,
  reset: (handle) => receiver.abort(handle),
})

parentPort?.on('message', (message: ToWorker) => {
  switch (message.type) {
    case 'metrics':
      void answerMetrics(message.request)
      break
    case 'change':
      front.change(stateOf(message.options))
      post({ type: 'changed', change: message.change })
      break
    case 'drain':
      void front.drain().then(() => post({ type: 'drained' }))
      break
    case 'close':
      void close()
      break
  }
})
post({ type: 'ready', receiverId: receiver.id })

function stateOf({ listeners, upstreams, log: { access } }: WorkerOptions): HttpFrontState {
  return { listeners, upstreams, log: access ? log : undefined }
}

function accept(fd: number, facts: NativeEstablished): void {
  front.accept(new Socket({ fd, readable: true, writable: true, allowHalfOpen: true }), facts)
}

async function answerMetrics(request: number): Promise<void> {
  setTo(metrics.logLinesLost, lostLines())
  post({ type: 'metrics', request, metrics: await metrics.registry.getMetricsAsJSON() })
}

async function close(): Promise<void> {
  await front.destroy()
  receiver.close()
  flush()
  process.exit(0)
}

function post(message: FromWorker): void {
  parentPort?.postMessage(message)
}
