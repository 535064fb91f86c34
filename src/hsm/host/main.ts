/**
 * Entry of the hsm host, the child process that alone loads a vendor's PKCS#11 module and knows its PIN.
 *
 * Started by ../host-process.ts with one end of a socket pair as file descriptor 3.
 */

import '../../no-inspector.ts'
import { type ConnectOpts, Socket, type SocketConstructorOpts } from 'node:net'
import { Worker } from 'node:worker_threads'

import { Host } from './host.ts'
import type { Pkcs11Module } from './pkcs11.ts'

// Whoever stops the service signals the whole group; the front process still needs signatures while it drains.
// This process leaves when its pipe ends.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

const PIPE_FD = 3
const READ_BYTES = 64 * 1024

const parent = process.ppid
const watchdog = new Worker(new URL('./watchdog.js', import.meta.url), {
  workerData: { parent },
  resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 1 },
})
watchdog.unref()

// One buffer for all that arrives: frames are read where they lie, and a stream of chunks would cost more than reading them.
const buffer = Buffer.allocUnsafeSlow(READ_BYTES)
const host = new Host((onChunk) => {
  const callback = (size: number) => {
    onChunk(buffer.subarray(0, size))
    return true
  }
  const options: SocketConstructorOpts & ConnectOpts = { fd: PIPE_FD, onread: { buffer, callback } }
  return new Socket(options)
}, leave)
process.on('uncaughtException', (error) => host.endWith(error))

/**
 * Lets the module say goodbye to the HSM, then leaves without running its destructors: with several libcryptos
 * and vendors' threads around, exit handlers are where such processes crash or hang.
 */
function leave(module: Pkcs11Module | undefined): void {
  try {
    module?.finalize()
  } catch {
    // There is nobody left to tell.
  }
  process.kill(process.pid, 'SIGKILL')
}
