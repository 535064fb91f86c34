/**
 * Preloaded (`node --import`) it makes each worker thread of a program crash two seconds after its start, when it has not taken
 * anything for half a second: connections and messages for it have piled up by then.
 */

import { isMainThread } from 'node:worker_threads'

const HEALTHY_MS = 2_000
const BLOCKED_MS = 500

if (!isMainThread) {
  setTimeout(() => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BLOCKED_MS)
    throw new Error('crash on purpose')
  }, HEALTHY_MS)
}
