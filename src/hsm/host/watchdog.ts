/**
 * Ends this process when the front process is gone and the main thread does not notice, because the module
 * hangs in a call. While the front process lives, it does the killing.
 */

import { workerData } from 'node:worker_threads'

const CHECK_INTERVAL_MS = 1000
// Time for C_Finalize, once the pipe has ended.
const CHECKS_BEFORE_KILL = 3

let orphanedChecks = 0
setInterval(() => {
  orphanedChecks = process.ppid === workerData.parent ? 0 : orphanedChecks + 1
  if (orphanedChecks >= CHECKS_BEFORE_KILL) process.kill(process.pid, 'SIGKILL')
}, CHECK_INTERVAL_MS)
