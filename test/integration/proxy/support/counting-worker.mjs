/** An HTTP worker that counts five requests, says so once, hangs at the next question and crashes at the third. */

import { parentPort } from 'node:worker_threads'
import { createMetrics } from '../../../../dist/metrics/metrics.js'

const { registry, requests } = createMetrics()
const labels = { listener: 'web', upstream: 'web', status: '2xx' }
for (let times = 0; times < 5; times++) requests.series(labels).inc()

let asked = 0
parentPort.on('message', async ({ type, request }) => {
  if (type === 'close') process.exit()
  if (type !== 'metrics') return
  asked += 1
  if (asked === 3) throw new Error('crash on purpose')
  if (asked === 1) parentPort.postMessage({ type, request, metrics: await registry.getMetricsAsJSON() })
})
parentPort.postMessage({ type: 'ready', receiverId: 1 })
